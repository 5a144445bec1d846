// The left side: lines of messages, grouped by day.
import { day, el, hue, icon, initials, time } from './format.js';
import { methodOf } from './calendar.js';

const known = new Map(); // id → line, so that an update keeps focus and scroll position

/** render puts the items into the list; unread and selected are looked up by id. */
export function render(list, items, { selected, isRead }) {
  const nodes = [];
  let lastDay = '';
  for (const item of items) {
    const name = day(new Date(item.sent_at));
    if (name !== lastDay) nodes.push(el('li', { class: 'day' }, el('span', {}, name)));
    lastDay = name;
    if (!known.has(item.id)) known.set(item.id, line(item));
    const node = known.get(item.id);
    const link = node.firstElementChild;
    node.classList.toggle('unread', !isRead(item.id));
    link.querySelector('.sr-only').textContent = isRead(item.id) ? '' : 'Unread. ';
    if (item.id === selected) link.setAttribute('aria-current', 'true');
    else link.removeAttribute('aria-current');
    nodes.push(node);
  }
  const ids = new Set(items.map((item) => item.id));
  for (const id of known.keys()) if (!ids.has(id)) known.delete(id);
  reconcile(list, nodes);
}

/** reconcile moves only what has to move. */
function reconcile(list, nodes) {
  const wanted = new Set(nodes);
  for (const child of [...list.children]) if (!wanted.has(child)) child.remove();
  nodes.forEach((node, i) => { if (list.children[i] !== node) list.insertBefore(node, list.children[i] ?? null); });
}

function line(item) {
  const to = item.to.join(', ');
  const mark = el('span', { class: 'mark', 'aria-hidden': 'true' }, initials(item.to[0] ?? ''));
  mark.style.setProperty('--hue', hue(item.to[0] ?? ''));
  const invite = item.invitation ? methodOf(item.invitation) : null;
  return el('li', { class: 'line' },
    el('a', { href: `#/m/${item.id}`, data: { id: item.id } }, mark,
      el('span', { class: 'line-main' },
        el('span', { class: 'sr-only' }),
        el('span', { class: 'line-top' }, el('span', { class: 'line-to' }, to), el('time', { datetime: item.sent_at }, time(new Date(item.sent_at)))),
        el('span', { class: 'line-subject' }, item.subject || '(no subject)'),
        el('span', { class: 'line-end' },
          el('span', { class: 'line-preview' }, item.preview || 'No text'),
          invite && el('span', { class: `pill small ${invite.tone}` }, icon('calendar'), invite.label)))));
}

/** reveal scrolls a line into view. */
export function reveal(id) { known.get(id)?.scrollIntoView({ block: 'nearest' }); }
