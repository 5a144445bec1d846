// The inbox page: state, navigation, keys. What is shown is in list.js and reader.js.
import { copy } from './format.js';
import * as list from './list.js';
import * as reader from './reader.js';
import { watch } from './live.js';

const PAGE = 100;
const MAX_PAGE = 1000;
const MAX_READ = 10_000;
const $ = (id) => document.getElementById(id);

const state = {
  items: [], next: null, total: 0, matching: 0, query: '', selected: '', loaded: false,
  read: new Set(JSON.parse(localStorage.getItem('read') ?? '[]')),
};
let newest = 0; // number of the latest request, so that a slow older answer doesn't overwrite it

const number = (n) => n.toLocaleString('en');
const isRead = (id) => state.read.has(id);

function saveRead() {
  const kept = [...state.read].slice(-MAX_READ);
  try { localStorage.setItem('read', JSON.stringify(kept)); } catch { /* full or forbidden: marks last until reload */ }
}

/** refresh reads the list again, as long as what is loaded; it says whether the endpoint answered. */
async function refresh() {
  const mine = ++newest;
  try {
    const limit = Math.min(MAX_PAGE, Math.max(PAGE, state.items.length));
    const answer = await load({ limit });
    if (mine !== newest) return true;
    announce(answer);
    Object.assign(state, { items: answer.items, next: answer.next_cursor, total: answer.total, matching: answer.matching, loaded: true });
    draw();
    return true;
  } catch {
    return false;
  }
}

async function load(params) {
  const search = new URLSearchParams(params);
  if (state.query) search.set('q', state.query);
  const answer = await fetch(`/messages?${search}`);
  if (!answer.ok) throw new Error(`the list answered ${answer.status}`);
  return answer.json();
}

async function loadMore() {
  if (!state.next) return;
  const cursor = state.next;
  state.next = null; // one request at a time
  try {
    const answer = await load({ limit: PAGE, cursor });
    const have = new Set(state.items.map((item) => item.id));
    state.items = [...state.items, ...answer.items.filter((item) => !have.has(item.id))];
    state.next = answer.next_cursor;
  } catch {
    state.next = cursor;
  }
  draw();
}

function announce(answer) {
  if (!state.loaded || state.query) return;
  const have = new Set(state.items.map((item) => item.id));
  const fresh = answer.items.filter((item) => !have.has(item.id));
  if (fresh.length === 1) $('announce').textContent = `New message: ${fresh[0].subject}`;
  else if (fresh.length > 1) $('announce').textContent = `${fresh.length} new messages`;
}

function draw() {
  const unread = state.items.filter((item) => !isRead(item.id)).length;
  list.render($('items'), state.items, { selected: state.selected, isRead });
  $('count').textContent = state.query ? `${number(state.matching)} found` : state.total === 1 ? '1 message' : `${number(state.total)} messages`;
  $('read-all').hidden = unread === 0;
  $('more').hidden = !state.next;
  $('delete-open').disabled = state.total === 0;
  $('nothing').hidden = !state.loaded || state.items.length > 0;
  $('nothing').textContent = state.query ? `Nothing matches “${state.query}”.` : 'Nothing here yet.';
  document.title = unread && !state.query ? `(${unread}) Inbox · Health&Med` : 'Inbox · Health&Med';
  document.body.dataset.empty = state.loaded && state.total === 0;
  $('empty').hidden = !(state.loaded && state.total === 0 && !state.selected);
  $('pick').hidden = !(state.loaded && state.total > 0 && !state.selected);
}

/** route shows what the address says: a message, or none. */
async function route() {
  const id = /^#\/m\/([\w-]+)$/.exec(location.hash)?.[1] ?? '';
  state.selected = id;
  document.body.dataset.view = id ? 'message' : 'list';
  const article = $('message');
  if (!id) {
    article.hidden = true;
    reader.hide();
    draw();
    return;
  }
  try {
    const answer = await fetch(`/messages/${id}`);
    if (!answer.ok) throw new Error(answer.status);
    const message = await answer.json();
    if (state.selected !== id) return; // another one was chosen meanwhile
    state.read.add(id);
    saveRead();
    article.hidden = false;
    reader.show(article, message, { onSearch: search, onBack: back, onUnread: unread });
    draw();
    list.reveal(id);
    if (matchMedia('(max-width: 760px)').matches) $('reader').focus({ preventScroll: true });
  } catch {
    if (state.selected === id) location.hash = '';
  }
}

function back() { location.hash = ''; }

function unread() {
  if (!state.selected) return;
  state.read.delete(state.selected);
  saveRead();
  draw();
}

function search(text) {
  $('search').value = text;
  state.query = text.trim();
  $('scroller').scrollTop = 0;
  if (matchMedia('(max-width: 760px)').matches) back();
  refresh();
}

function step(by) {
  const at = state.items.findIndex((item) => item.id === state.selected);
  const target = state.items[at < 0 ? 0 : at + by];
  if (target) location.replace(`#/m/${target.id}`);
}

const KEYS = {
  j: () => step(1), k: () => step(-1), p: () => reader.flip('phone'), d: () => reader.flip('dark'), u: unread,
  1: () => reader.chooseNumber(1), 2: () => reader.chooseNumber(2), 3: () => reader.chooseNumber(3), 4: () => reader.chooseNumber(4),
  '/': () => $('search').select(), '?': () => $('help').showModal(), Escape: back,
};

document.addEventListener('keydown', (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector('dialog[open]')) return;
  if (event.target === $('search')) {
    if (event.key !== 'Escape') return;
    search('');
    $('search').blur();
  } else if (Object.hasOwn(KEYS, event.key)) {
    KEYS[event.key]();
  } else if (event.target.closest?.('.items') && (event.key === 'ArrowDown' || event.key === 'ArrowUp')) {
    moveFocus(event.target, event.key === 'ArrowDown' ? 1 : -1);
  } else {
    return;
  }
  event.preventDefault();
});

function moveFocus(from, by) {
  const links = [...$('items').querySelectorAll('a')];
  links[links.indexOf(from) + by]?.focus();
}

let typing = 0;
$('search').addEventListener('input', () => {
  clearTimeout(typing);
  typing = setTimeout(() => { state.query = $('search').value.trim(); refresh(); }, 150);
});
$('more').addEventListener('click', loadMore);
new IntersectionObserver((entries) => entries.some((entry) => entry.isIntersecting) && loadMore(), { root: $('scroller'), rootMargin: '300px' }).observe($('more'));
$('read-all').addEventListener('click', () => {
  for (const item of state.items) state.read.add(item.id);
  saveRead();
  draw();
});
$('help-open').addEventListener('click', () => $('help').showModal());
$('delete-open').addEventListener('click', () => $('delete').showModal());
$('delete').addEventListener('close', async () => {
  if ($('delete').returnValue !== 'delete') return;
  try {
    const answer = await fetch('/messages', { method: 'DELETE' });
    if (!answer.ok) throw new Error(answer.status);
    back();
  } catch {
    $('announce').textContent = 'The messages could not be deleted.';
  }
  refresh();
});

function drawTheme() {
  const dark = getComputedStyle(document.documentElement).getPropertyValue('--dark').trim() === '1';
  $('theme').querySelector('use').setAttribute('href', dark ? '#i-sun' : '#i-moon');
  reader.applyLook();
  return dark;
}
$('theme').addEventListener('click', () => {
  const next = drawTheme() ? 'light' : 'dark';
  document.documentElement.dataset.theme = next;
  localStorage.setItem('theme', next);
  drawTheme();
});
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', drawTheme);

$('endpoint').textContent = `AWS_ENDPOINT_URL_SESV2=${location.origin}`;
$('curl').textContent = `curl ${location.origin}/v2/email/outbound-emails -H 'Authorization: AWS4-HMAC-SHA256 Credential=dev, SignedHeaders=host, Signature=dev' -d '{"FromEmailAddress": "me@example.com", "Destination": {"ToAddresses": ["you@example.com"]}, "Content": {"Simple": {"Subject": {"Data": "Hello"}, "Body": {"Text": {"Data": "It works."}}}}}'`;
for (const button of document.querySelectorAll('[data-copy]')) {
  button.addEventListener('click', () => copy(button, $(button.dataset.copy).textContent));
}

const STATES = { live: 'Live', polling: 'Checking every 5 s', offline: 'Not reachable, trying again', connecting: 'Connecting' };
watch(refresh, (name) => {
  $('live').dataset.state = name;
  $('live').lastElementChild.textContent = STATES[name];
});
addEventListener('hashchange', route);
drawTheme();
route();
