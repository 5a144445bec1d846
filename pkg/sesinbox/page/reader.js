// The right side: one message with its tabs.
import { bytes, copy, el, fullTime, hue, icon, initials, splitAddress } from './format.js';
import { card, strip } from './calendar.js';

const TABS = ['html', 'text', 'calendar', 'source'];
const NAMES = { html: 'HTML', text: 'Text', calendar: 'Calendar', source: 'Source' };
const MAX_SHOWN = 400_000; // characters of source; more would make the page slow

const look = { tab: 'html', phone: false, dark: null }; // kept from message to message; dark null follows the page
let shown = null; // {message, panels, tabs, toggles}

/** show fills the article with a message. */
export function show(article, message, { onSearch, onBack, onUnread }) {
  const available = {
    html: message.html !== '', text: message.text !== '', calendar: message.invitation !== null, source: true,
  };
  const panel = el('div', { class: 'panel', id: 'panel', role: 'tabpanel', tabindex: '-1' });
  const tabs = el('div', { class: 'tabs', role: 'tablist', 'aria-label': 'Forms of the message' },
    ...TABS.map((name) => el('button', {
      class: 'tab', role: 'tab', type: 'button', id: `tab-${name}`, 'aria-controls': 'panel', data: { tab: name },
      disabled: !available[name], onclick: () => choose(name),
    }, NAMES[name])));
  tabs.addEventListener('keydown', (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const open = TABS.filter((name) => available[name]);
    choose(open.at((open.indexOf(shown.current) + step) % open.length));
    tabs.querySelector('[aria-selected="true"]').focus();
    event.preventDefault();
  });
  const toggle = (name, label, iconName) => el('button', {
    class: 'tool', type: 'button', title: label, 'aria-label': label, data: { toggle: name }, onclick: () => flip(name),
  }, icon(iconName));
  const toggles = el('div', { class: 'toggles' }, toggle('phone', 'Phone width (p)', 'phone'), toggle('dark', 'E-mail in dark mode (d)', 'moon'));

  article.replaceChildren(
    head(message, onSearch, onBack, onUnread),
    ...warnings(message),
    el('div', { class: 'tabbar' }, tabs, toggles),
    panel);
  shown = { message, available, panel, tabs, toggles, current: '' };
  choose(available[look.tab] ? look.tab : TABS.find((name) => available[name]), false);
}

export function hide() { shown = null; }

/** choose opens a tab, if the message has that form. */
export function choose(name, remember = true) {
  if (!shown || !shown.available[name]) return;
  if (remember) look.tab = name;
  shown.current = name;
  for (const tab of shown.tabs.children) {
    const selected = tab.dataset.tab === name;
    tab.setAttribute('aria-selected', selected);
    tab.tabIndex = selected ? 0 : -1;
  }
  shown.panel.setAttribute('aria-labelledby', `tab-${name}`);
  shown.panel.dataset.tab = name;
  shown.toggles.hidden = name !== 'html' && name !== 'text';
  shown.panel.replaceChildren(...PANELS[name](shown.message));
  applyLook();
}

export const chooseNumber = (n) => choose(TABS[n - 1]);

/** flip turns phone width or the dark e-mail on and off. */
export function flip(name) {
  if (!shown) return;
  look[name] = name === 'dark' ? !isDark() : !look.phone;
  applyLook();
}

function isDark() {
  if (look.dark !== null) return look.dark;
  return getComputedStyle(document.documentElement).getPropertyValue('--dark').trim() === '1';
}

export function applyLook() {
  if (!shown) return;
  shown.panel.dataset.phone = look.phone;
  shown.panel.dataset.mail = isDark() ? 'dark' : 'light';
  for (const button of shown.toggles.children) {
    button.setAttribute('aria-pressed', button.dataset.toggle === 'phone' ? look.phone : isDark());
  }
}

function head(message, onSearch, onBack, onUnread) {
  const from = splitAddress(message.from);
  const mark = el('span', { class: 'mark', 'aria-hidden': 'true' }, initials(message.from));
  mark.style.setProperty('--hue', hue(from.email));
  const person = (address) => el('button', { class: 'address', type: 'button', title: `Messages to ${address}`, onclick: () => onSearch(address) }, address);
  const sent = new Date(message.sent_at);
  const files = message.parts.filter((part) => part.attachment);
  const tags = Object.entries(message.tags).sort(([a], [b]) => a.localeCompare(b));
  return el('header', { class: 'head' },
    el('div', { class: 'head-top' },
      el('button', { class: 'tool back', type: 'button', 'aria-label': 'Back to the list', onclick: onBack }, icon('back')),
      el('h1', { class: 'subject' }, message.subject || '(no subject)'),
      el('div', { class: 'head-tools' },
        el('button', { class: 'tool wide-only', type: 'button', title: 'Mark unread (u)', 'aria-label': 'Mark unread', onclick: onUnread }, icon('mail')),
        el('a', { class: 'tool', href: `/messages/${encodeURIComponent(message.id)}/raw?download`, title: 'Download the message (.eml)', 'aria-label': 'Download the message' }, icon('download')))),
    el('div', { class: 'envelope' }, mark,
      el('div', { class: 'lines' },
        el('p', { class: 'from' }, el('b', {}, from.name || from.email), from.name ? el('span', { class: 'quiet' }, ` ${from.email}`) : null),
        el('p', { class: 'to' }, el('span', { class: 'quiet' }, 'to '), ...message.to.flatMap((address, i) => [i ? ', ' : '', person(address)])),
        message.reply_to ? el('p', { class: 'to' }, el('span', { class: 'quiet' }, 'replies to '), message.reply_to) : null),
      el('time', { class: 'sent quiet', datetime: message.sent_at, title: message.sent_at }, fullTime(sent))),
    tags.length + files.length > 0 && el('div', { class: 'extras' },
      files.length > 0 && el('ul', { class: 'files', 'aria-label': 'Attachments' }, ...files.map((part) => el('li', {}, file(message, part)))),
      tags.length > 0 && el('ul', { class: 'tags', 'aria-label': 'Tags' },
        ...tags.map(([name, value]) => el('li', {}, el('span', { class: 'quiet' }, name), ' ', value)))));
}

function file(message, part) {
  const kind = part.content_type.endsWith('calendar') || part.content_type.endsWith('/ics') ? 'calendar' : 'file';
  return el('a', { class: 'file', href: partURL(message, part), download: part.filename || true }, icon(kind),
    part.filename || part.content_type, el('span', { class: 'quiet' }, bytes(part.size)));
}

const partURL = (message, part) => `/messages/${encodeURIComponent(message.id)}/parts/${part.index}`;

function warnings(message) {
  if (!message.warnings.length) return [];
  return [el('div', { class: 'warnings', role: 'note' }, icon('warning'),
    el('ul', {}, ...message.warnings.map((text) => el('li', {}, text))))];
}

const PANELS = {
  html: (message) => [...invitationStrip(message), el('div', { class: 'stage' }, el('iframe', {
    class: 'mail', title: 'The message as HTML', sandbox: 'allow-popups allow-popups-to-escape-sandbox',
    src: `/messages/${encodeURIComponent(message.id)}/html`, referrerpolicy: 'no-referrer',
  }))],
  text: (message) => [...invitationStrip(message), el('div', { class: 'stage' }, el('pre', { class: 'plain' }, ...withLinks(message.text)))],
  calendar: (message) => [card(message.invitation, message.id, message.parts.find(isCalendar)?.index)],
  source: sourcePanel,
};

const isCalendar = (part) => part.content_type === 'text/calendar' || part.content_type === 'application/ics';

const invitationStrip = (message) => (message.invitation ? [strip(message.invitation, () => choose('calendar'))] : []);

function withLinks(text) {
  return text.split(/(https?:\/\/[^\s<>"]*[^\s<>".,;:!?)])/g).map((piece, i) => (
    i % 2 ? el('a', { href: piece, target: '_blank', rel: 'noopener noreferrer' }, piece) : piece));
}

function sourcePanel(message) {
  const pre = el('pre', { class: 'source', tabindex: '0' }, 'Loading…');
  const note = el('p', { class: 'quiet small' });
  const copyButton = el('button', { class: 'tool copy', type: 'button', title: 'Copy the source', 'aria-label': 'Copy the source', disabled: true }, icon('copy'));
  fetch(`/messages/${encodeURIComponent(message.id)}/raw`).then(async (answer) => {
    if (!answer.ok) throw new Error(answer.status);
    const raw = (await answer.text()).replaceAll('\r\n', '\n');
    pre.replaceChildren(...colourHeaders(raw.slice(0, MAX_SHOWN)));
    if (raw.length > MAX_SHOWN) note.textContent = 'The first 400,000 characters; download the message for the rest.';
    copyButton.disabled = false;
    copyButton.addEventListener('click', () => copy(copyButton, raw));
  }).catch(() => { pre.textContent = 'The source could not be loaded.'; });
  return [el('div', { class: 'source-wrap' },
    el('table', { class: 'parts' },
      el('thead', {}, el('tr', {}, ...['Part', 'Type', 'Name', 'Size'].map((name) => el('th', { scope: 'col' }, name)))),
      el('tbody', {}, ...message.parts.map((part) => el('tr', {},
        el('td', {}, el('a', { href: partURL(message, part), download: part.filename || true }, part.path)),
        el('td', {}, part.content_type), el('td', {}, part.filename ?? ''), el('td', {}, bytes(part.size)))))),
    el('div', { class: 'source-box' }, copyButton, pre), note)];
}

/** colourHeaders marks the names of the header fields at the top. */
function colourHeaders(raw) {
  const end = raw.indexOf('\n\n');
  if (end < 0) return [raw];
  const lines = raw.slice(0, end).split('\n').flatMap((line) => {
    const match = /^([!-9;-~]+:)(.*)$/.exec(line);
    return match ? [el('span', { class: 'field' }, match[1]), `${match[2]}\n`] : [`${line}\n`];
  });
  return [...lines, raw.slice(end + 1)];
}
