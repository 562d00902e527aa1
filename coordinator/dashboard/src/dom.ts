// A view layer of one page: elements are described, and the document is changed to what is described.

type Handler = (event: Event) => void;
export type Attributes = { [name: string]: string | number | boolean | null | undefined | Handler | Record<string, string> };
export interface Node_ { tag: string; attributes: Attributes; children: Child[]; key: string | undefined }
export type Child = Node_ | string | number | null | undefined | false | Child[];

interface Kept { handlers: Map<string, Handler>; names: Set<string>; key: string | undefined; tag: string }
const kept = new WeakMap<Element, Kept>();

/** Describes an element. `key` tells it apart among its siblings; `style` sets properties. */
export function h(tag: string, attributes: Attributes | null, ...children: Child[]): Node_ {
  const { key, ...rest } = attributes ?? {};
  return { tag, attributes: rest, children, key: key === undefined || key === null ? undefined : String(key) };
}

function flat(children: Child[], into: (Node_ | string)[] = []): (Node_ | string)[] {
  for (const child of children) {
    if (Array.isArray(child)) flat(child, into);
    else if (typeof child === 'object' && child !== null) into.push(child);
    else if (typeof child === 'string' || typeof child === 'number') into.push(String(child));
  }
  return into;
}

/** Makes the children of `parent` what is described; what is there already is kept, focus and scrolling included. */
export function render(parent: Element, children: Child[]): void {
  const wanted = flat(children);
  const byKey = new Map<string, Element>();
  for (const child of Array.from(parent.children)) {
    const key = kept.get(child)?.key;
    if (key !== undefined) byKey.set(key, child);
  }
  let at: ChildNode | null = parent.firstChild;
  for (const node of wanted) {
    if (typeof node === 'string') {
      if (at?.nodeType === Node.TEXT_NODE) {
        if (at.nodeValue !== node) at.nodeValue = node;
        at = at.nextSibling;
      } else parent.insertBefore(document.createTextNode(node), at);
      continue;
    }
    const before = at instanceof Element ? kept.get(at) : undefined;
    let element: Element | undefined;
    if (node.key !== undefined) element = byKey.get(node.key);
    else if (before && before.tag === node.tag && before.key === undefined) element = at as Element;
    if (element && kept.get(element)?.tag !== node.tag) element = undefined;
    if (!element) element = make(node, parent);
    if (element === at) at = at.nextSibling;
    else parent.insertBefore(element, at);
    update(element, node);
  }
  while (at) {
    const next: ChildNode | null = at.nextSibling;
    at.remove();
    at = next;
  }
}

const SVG = 'http://www.w3.org/2000/svg';

function make(node: Node_, parent: Element): Element {
  const drawn = node.tag === 'svg' || parent.namespaceURI === SVG;
  const element = drawn ? document.createElementNS(SVG, node.tag) : document.createElement(node.tag);
  kept.set(element, { handlers: new Map(), names: new Set(), key: node.key, tag: node.tag });
  return element;
}

function update(element: Element, node: Node_): void {
  const state = kept.get(element);
  if (!state) return;
  for (const name of state.names) if (!(name in node.attributes)) set(element, state, name, null);
  for (const [name, value] of Object.entries(node.attributes)) set(element, state, name, value);
  render(element, node.children);
}

function set(element: Element, state: Kept, name: string, value: Attributes[string]): void {
  if (name.startsWith('on')) {
    const event = name.slice(2);
    if (!state.handlers.has(event)) element.addEventListener(event, (it) => state.handlers.get(event)?.(it));
    if (typeof value === 'function') state.handlers.set(event, value);
    else state.handlers.set(event, () => {});
  } else if (name === 'style') {
    // By property: a policy without inline style forbids the attribute.
    const style = (element as HTMLElement).style;
    for (const [property, text] of Object.entries((value ?? {}) as Record<string, string>)) style.setProperty(property, text);
  } else if (value === null || value === undefined || value === false) {
    if (element.hasAttribute(name)) element.removeAttribute(name);
  } else {
    const text = value === true ? '' : String(value);
    if (element.getAttribute(name) !== text) element.setAttribute(name, text);
    // What somebody moved no longer follows its attribute.
    if (name === 'value' && element instanceof HTMLInputElement && element.type === 'range') element.value = text;
  }
  state.names.add(name);
}
