// The page as one file: the built template with the document in it.

/** Where the document and the title go in the template. */
export const documentMark = "%TOKENLOOM_DOCUMENT%";
export const titleMark = "%TOKENLOOM_TITLE%";

/** `document` is the explain document as JSON, gzipped, in base64: nothing in it can end a script element. */
export function pageOf(template: string, document: string, title: string): string {
  const safe = title.replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);
  return template.replace(titleMark, () => safe).replace(documentMark, () => document);
}
