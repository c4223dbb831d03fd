// Elements in one line each. Text is always text: nothing of the document is ever read as HTML.

type Child = Node | string | undefined | false | readonly Child[];

export interface Props {
  readonly class?: string;
  readonly title?: string;
  readonly [name: `data-${string}` | `aria-${string}`]: string;
  readonly role?: string;
  readonly tabindex?: string;
  readonly href?: string;
  readonly type?: string;
  readonly style?: string;
  readonly placeholder?: string;
  readonly onclick?: (e: MouseEvent) => void;
}

export function h<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  props: Props = {},
  ...children: readonly Child[]
): HTMLElementTagNameMap[K] {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (typeof value === "function") made.addEventListener(name.slice(2), value as EventListener);
    else if (value !== undefined) made.setAttribute(name, String(value));
  }
  append(made, children);
  return made;
}

function append(to: Node, children: readonly Child[]): void {
  for (const c of children) {
    if (c === undefined || c === false) continue;
    if (typeof c === "string") to.appendChild(document.createTextNode(c));
    else if (c instanceof Node) to.appendChild(c);
    else append(to, c);
  }
}

export function fill(place: Element, ...children: readonly Child[]): void {
  const all = document.createDocumentFragment();
  append(all, children);
  place.replaceChildren(all);
}

/** A button that reads as a link to something in the page. */
export function link(text: Child, onclick: () => void, props: Props = {}): HTMLButtonElement {
  return h("button", { type: "button", ...props, class: `link ${props.class ?? ""}`, onclick }, text);
}

export function byId<T extends HTMLElement>(id: string): T {
  const found = document.getElementById(id);
  if (!found) throw new Error(`the page has no #${id}`);
  return found as T;
}

/** A long list without the wait: the first rows at once, the rest when the reader comes near them. */
export function longList<T>(
  place: HTMLElement,
  items: readonly T[],
  row: (item: T) => HTMLElement,
  batch = 200,
): void {
  let next = 0;
  const end = h("div", { class: "list-end" });
  const more = (): void => {
    for (const item of items.slice(next, next + batch)) place.insertBefore(row(item), end);
    next += batch;
    if (next >= items.length) {
      watch.disconnect();
      end.remove();
    }
  };
  const watch = new IntersectionObserver((seen) => seen.some((s) => s.isIntersecting) && more(), {
    rootMargin: "600px",
  });
  place.appendChild(end);
  more();
  if (next < items.length) watch.observe(end);
}

/** As many pixels as the screen has for it. */
export function sizeToScreen(canvas: HTMLCanvasElement): void {
  canvas.width = Math.round(canvas.clientWidth * window.devicePixelRatio);
  canvas.height = Math.round(canvas.clientHeight * window.devicePixelRatio);
}
