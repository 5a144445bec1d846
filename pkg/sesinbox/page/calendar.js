// The invitation: as a card, and as a line above the message.
import { el, icon } from './format.js';

const METHODS = {
  REQUEST: { label: 'Invitation', tone: 'good' },
  CANCEL: { label: 'Cancelled', tone: 'bad' },
  REPLY: { label: 'Reply', tone: 'calm' },
  PUBLISH: { label: 'Published', tone: 'calm' },
};
const ANSWERS = { ACCEPTED: 'accepted', DECLINED: 'declined', TENTATIVE: 'maybe', 'NEEDS-ACTION': 'no answer yet' };

export const methodOf = (method) => METHODS[method] ?? { label: method || 'Event', tone: 'calm' };

/** parts of a moment, in its own zone where it has one, else in the reader's. */
function moment(text, zone) {
  const dateOnly = /^\d{4}-\d\d-\d\d$/.test(text);
  const floating = !dateOnly && !/(Z|[+-]\d\d:\d\d)$/.test(text);
  const date = new Date(dateOnly ? `${text}T00:00:00Z` : floating ? `${text}Z` : text);
  let timeZone = dateOnly || floating ? 'UTC' : zone || undefined;
  try { new Intl.DateTimeFormat('en-GB', { timeZone }); } catch { timeZone = undefined; }
  const format = (options) => new Intl.DateTimeFormat('en-GB', { timeZone, ...options }).format(date);
  return { date, dateOnly, floating, timeZone, format };
}

function zoneName(m) {
  if (m.dateOnly) return '';
  if (m.floating) return 'no time zone given';
  const zone = m.timeZone ?? Intl.DateTimeFormat().resolvedOptions().timeZone;
  const offset = new Intl.DateTimeFormat('en-GB', { timeZone: zone, timeZoneName: 'shortOffset' })
    .formatToParts(m.date).find((part) => part.type === 'timeZoneName')?.value;
  return offset === zone ? zone : `${zone.replaceAll('_', ' ')} (${offset})`;
}

const hours = { hour: '2-digit', minute: '2-digit' };
const shortDate = { weekday: 'short', day: 'numeric', month: 'short', year: 'numeric' };
const longDate = { weekday: 'long', day: 'numeric', month: 'long', year: 'numeric' };

function span(inv, dayFormat) {
  const start = moment(inv.start, inv.time_zone);
  const end = inv.end ? moment(inv.end, inv.time_zone) : null;
  const day = start.format(dayFormat);
  if (start.dateOnly) return { start, day, times: 'All day' };
  const times = end ? `${start.format(hours)} – ${end.format(hours)}` : start.format(hours);
  const minutes = end ? Math.round((end.date - start.date) / 60_000) : 0;
  return { start, day, times, minutes };
}

function duration(minutes) {
  if (!minutes || minutes < 0) return '';
  const h = Math.floor(minutes / 60), m = minutes % 60;
  return [h && `${h} h`, m && `${m} min`].filter(Boolean).join(' ');
}

/** strip is the line that mail programs show above a message with an invitation. */
export function strip(inv, open) {
  const { label, tone } = methodOf(inv.method);
  const when = inv.start ? span(inv, shortDate) : null;
  return el('button', { class: 'strip', type: 'button', onclick: open },
    el('span', { class: `pill ${tone}` }, label),
    el('span', { class: 'strip-when' }, when ? `${when.day}, ${when.times}` : 'No time given'),
    el('span', { class: 'strip-more' }, 'Calendar'));
}

/** card is the invitation in full. icsPart is the index of the part to download, or undefined. */
export function card(inv, id, icsPart) {
  const { label, tone } = methodOf(inv.method);
  const when = inv.start ? span(inv, longDate) : null;
  const leaf = el('div', { class: 'leaf', 'aria-hidden': 'true' },
    el('span', {}, when ? when.start.format({ month: 'short' }) : '–'),
    el('b', {}, when ? when.start.format({ day: 'numeric' }) : '?'),
    el('span', {}, when ? when.start.format({ weekday: 'short' }) : ''));
  const utc = when && !when.start.dateOnly && !when.start.floating
    ? `${new Intl.DateTimeFormat('en-GB', { timeZone: 'UTC', day: 'numeric', month: 'short', ...hours }).format(when.start.date)} UTC` : '';
  const facts = el('dl', { class: 'facts' });
  const fact = (name, ...value) => {
    if (value.some(Boolean)) facts.append(el('div', {}, el('dt', {}, name), el('dd', {}, ...value)));
  };
  fact('Where', inv.location);
  fact('Organizer', inv.organizer && whoIs(inv.organizer));
  if (inv.attendees.length) {
    fact('Attendees', el('ul', { class: 'people' }, ...inv.attendees.map((who) => el('li', {}, whoIs(who),
      who.status && el('span', { class: 'answer' }, ANSWERS[who.status] ?? who.status.toLowerCase())))));
  }
  fact('Description', inv.description && el('span', { class: 'prewrap' }, inv.description));
  fact('Link', inv.url);
  fact('Method', inv.method && el('code', {}, inv.method));
  fact('Status', inv.status && el('code', {}, inv.status));
  fact('Sequence', el('code', {}, String(inv.sequence)));
  fact('UID', inv.uid && el('code', {}, inv.uid));
  return el('div', { class: 'card-wrap' },
    el('div', { class: `card ${tone}` },
      el('header', { class: 'card-head' }, leaf,
        el('div', { class: 'card-title' },
          el('span', { class: `pill ${tone}` }, label),
          el('h2', {}, inv.summary || 'Untitled event'),
          when ? el('p', { class: 'card-when' }, `${when.day}`, el('br'), el('b', {}, when.times),
            when.minutes ? el('span', { class: 'quiet' }, ` · ${duration(when.minutes)}`) : null) : el('p', {}, 'No time given'),
          when && zoneName(when.start) && el('p', { class: 'quiet small' }, [zoneName(when.start), utc].filter(Boolean).join(' · ')))),
      facts,
      icsPart !== undefined && el('footer', { class: 'card-foot' },
        el('a', { class: 'button', href: `/messages/${encodeURIComponent(id)}/parts/${icsPart}`, download: 'invite.ics' }, icon('download'), 'Download .ics'))),
    el('details', { class: 'ics' }, el('summary', {}, 'iCalendar source'), el('pre', { class: 'source' }, inv.source)));
}

function whoIs(who) {
  return who.name ? el('span', {}, who.name, ' ', el('span', { class: 'quiet' }, who.email)) : who.email;
}
