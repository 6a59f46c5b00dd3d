// What every page shows: who is signed in, what she holds, what went wrong, and where developers look further.

import { config } from './api.js';
import { state } from './words.js';

export const find = (id) => document.getElementById(id);

/** A copy of a template's content. */
export function copy(id) {
  return find(id).content.firstElementChild.cloneNode(true);
}

/** Says who is signed in; in a demo also that it is one. */
export async function frame() {
  const { member, links } = await config();
  if (member?.name) find('member').textContent = `Signed in as ${member.name}`;
  if (!links?.length) return;
  const line = document.createElement('p');
  line.append('A demonstration: no real money moves. Pay with the card 4242 4242 4242 4242. ');
  for (const { text, href } of links) {
    const link = document.createElement('a');
    link.href = href;
    link.textContent = text;
    line.append(link, ' ');
  }
  find('colophon').replaceChildren(line);
}

export function notify(problem) {
  const notice = find('notice');
  notice.textContent = problem?.message ?? '';
  notice.hidden = !problem;
  if (problem) notice.scrollIntoView({ block: 'nearest' });
}

/** One entry of a list of what a member holds; `names` maps plan codes to names. */
export function holding(held, names) {
  const entry = copy('holding');
  const { badge, detail, tone } = state(held);
  const name = names.get(held.plan) ?? held.plan;
  entry.querySelector('.name').textContent = held.quantity > 1 ? `${held.quantity} × ${name}` : name;
  entry.querySelector('.detail').textContent = detail;
  const mark = entry.querySelector('.badge');
  mark.textContent = badge;
  mark.dataset.tone = tone;
  entry.dataset.status = held.status;
  entry.dataset.plan = held.plan;
  return entry;
}
