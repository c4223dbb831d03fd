// What the pointer does on the graph's canvas: drags, clicks, turns its wheel. Knows nothing of graphs.

export interface PointerUse {
  hover(e: PointerEvent): void;
  leave(): void;
  click(e: PointerEvent): void;
  open(e: MouseEvent): void;
  pan(dx: number, dy: number): void;
  zoom(by: number, at: { readonly x: number; readonly y: number }): void;
}

/** Less than this is a click of a hand that is not still. */
const STILL = 4;

export function onPointer(canvas: HTMLCanvasElement, use: PointerUse): void {
  let from: { x: number; y: number; moved: boolean } | undefined;
  canvas.onpointerdown = (e) => {
    from = { x: e.clientX, y: e.clientY, moved: false };
    canvas.setPointerCapture(e.pointerId);
  };
  canvas.onpointermove = (e) => {
    if (!from) return use.hover(e);
    const [dx, dy] = [e.clientX - from.x, e.clientY - from.y];
    if (!from.moved && Math.hypot(dx, dy) < STILL) return;
    from = { x: e.clientX, y: e.clientY, moved: true };
    use.pan(dx, dy);
  };
  canvas.onpointerup = (e) => {
    const moved = from?.moved;
    from = undefined;
    if (!moved) use.click(e);
  };
  canvas.onpointercancel = () => (from = undefined);
  canvas.onpointerleave = () => use.leave();
  canvas.ondblclick = (e) => use.open(e);
  const turn = (e: WheelEvent): void => {
    e.preventDefault();
    const lines = e.deltaMode === WheelEvent.DOM_DELTA_LINE ? 16 : 1;
    if (e.ctrlKey || e.metaKey) use.zoom(Math.exp(-e.deltaY * lines * 0.004), { x: e.offsetX, y: e.offsetY });
    else if (e.shiftKey && e.deltaX === 0) use.pan(-e.deltaY * lines, 0);
    else use.pan(-e.deltaX * lines, -e.deltaY * lines);
  };
  canvas.addEventListener("wheel", turn, { passive: false });
}
