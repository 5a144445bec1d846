// Small helpers: elements, dates, sizes. No state.

/** el makes an element: el('a', {class: 'x', href: '#'}, 'text', child). Text is never parsed as HTML. */
export function el(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith('on')) node.addEventListener(name.slice(2), value);
    else if (name === 'data') Object.assign(node.dataset, value);
    else node.setAttribute(name, value === true ? '' : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

export function icon(name) {
  const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
  svg.setAttribute('class', 'icon');
  svg.setAttribute('aria-hidden', 'true');
  const use = document.createElementNS('http://www.w3.org/2000/svg', 'use');
  use.setAttribute('href', `#i-${name}`);
  svg.append(use);
  return svg;
}

const clock = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit' });
const longDay = new Intl.DateTimeFormat('en-GB', { weekday: 'long', day: 'numeric', month: 'long' });
const longDayYear = new Intl.DateTimeFormat('en-GB', { weekday: 'long', day: 'numeric', month: 'long', year: 'numeric' });
const full = new Intl.DateTimeFormat('en-GB', { weekday: 'short', day: 'numeric', month: 'short', year: 'numeric', hour: '2-digit', minute: '2-digit', second: '2-digit' });

export const time = (date) => clock.format(date);
export const fullTime = (date) => full.format(date);

/** day names a day as a person does: Today, Yesterday, Monday 3 March. */
export function day(date, now = new Date()) {
  const midnight = (d) => new Date(d.getFullYear(), d.getMonth(), d.getDate());
  const days = Math.round((midnight(now) - midnight(date)) / 86_400_000);
  if (days === 0) return 'Today';
  if (days === 1) return 'Yesterday';
  return (date.getFullYear() === now.getFullYear() ? longDay : longDayYear).format(date);
}

export function bytes(n) {
  if (n < 1000) return `${n} B`;
  if (n < 1_000_000) return `${(n / 1000).toFixed(n < 10_000 ? 1 : 0)} kB`;
  return `${(n / 1_000_000).toFixed(1)} MB`;
}

/** splitAddress takes "Ana <ana@x>" apart. */
export function splitAddress(text) {
  const match = /^\s*(.*?)\s*<([^<>]*)>\s*$/.exec(text);
  return match && match[1] ? { name: match[1], email: match[2] } : { name: '', email: match ? match[2] : text };
}

/** initials of a name or address, for the round mark. */
export function initials(text) {
  const { name, email } = splitAddress(text);
  const words = (name || email.split('@')[0]).split(/[\s._-]+/).filter((word) => /[\p{L}\p{N}]/u.test(word));
  const letters = words.length > 1 ? [words[0], words.at(-1)] : words;
  return letters.map((word) => Array.from(word)[0]).join('').toUpperCase() || '@';
}

/** hue gives each address a colour of its own, always the same one. */
export function hue(text) {
  let h = 7;
  for (const c of text.toLowerCase()) h = (h * 31 + c.codePointAt(0)) % 360;
  return h;
}

/** copy puts text on the clipboard and says so on the button. */
export async function copy(button, text) {
  await navigator.clipboard.writeText(text);
  button.dataset.done = 'true';
  setTimeout(() => delete button.dataset.done, 1500);
}
