// Layout beside the page, so that it never waits: one message a layout, answered in order.

import { Layouts, type LayoutBox } from "./layout.ts";

export interface LayoutRequest {
  readonly id: number;
  readonly root: LayoutBox;
}

const layouts = new Layouts();

self.onmessage = (e: MessageEvent<LayoutRequest>) => {
  self.postMessage({ id: e.data.id, placed: layouts.place(e.data.root) });
};
