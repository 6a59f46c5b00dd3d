// What every page shows: who is signed in, what she holds, what went wrong, and where developers look further.

import { config } from './api.js';
import { state } from './words.js';

export const find = (id) => document.getElementById(id);

/** A copy of a template's content. */
export function copy(id) {
  return find(id).content.firstElementChild.cloneNode(true);
}

/** A button that does something here. */
export function button(text, className, onClick) {
  const made = document.createElement('button');
  made.type = 'button';
  made.className = className;
  made.textContent = text;
  made.addEventListener('click', onClick);
  return made;
}

export function paragraph(text, className = '') {
  return Object.assign(document.createElement('p'), { className, textContent: text });
}

export function span(text, className = '') {
  return Object.assign(document.createElement('span'), { className, textContent: text });
}

/** A link to somewhere else. */
export function link(text, href, className = '') {
  const made = document.createElement('a');
  made.href = href;
  made.textContent = text;
  made.className = className;
  return made;
}

export const isWorking = (element) => element.ariaDisabled === 'true';

/** Runs what a button began. Meanwhile the button says so, keeps the focus and is not to be pressed again. */
export async function working(element, run) {
  const words = [...element.childNodes];
  element.ariaDisabled = 'true';
  element.replaceChildren('One moment …');
  try {
    return await run();
  } finally {
    element.replaceChildren(...words);
    element.ariaDisabled = null;
  }
}

/** Sends the browser elsewhere; what waits for it waits for good. */
export function leave(address) {
  location.assign(address);
  return new Promise(() => {});
}

/** Shows a text, or hides the element when there is none. */
export function tell(element, text) {
  element.textContent = text ?? '';
  element.hidden = !text;
}

/** Says who is signed in; in a demo also that it is one. */
export async function frame() {
  const { member, links } = await config();
  if (member?.name) find('member').textContent = `Signed in as ${member.name}`;
  if (!links?.length) return;
  const line = document.createElement('p');
  line.append('A demonstration: no real money moves. Pay with the card 4242 4242 4242 4242. ');
  for (const { text, href } of links) line.append(link(text, href), ' ');
  find('colophon').replaceChildren(line);
}

export function notify(problem) {
  const notice = find('notice');
  tell(notice, problem?.message);
  if (problem) notice.scrollIntoView({ block: 'nearest' });
}

/** Fills one entry of a list of what a member holds; `name` gives a plan's name. */
export function describe(entry, held, name) {
  const { badge, detail, tone } = state(held);
  entry.querySelector('.name').textContent = title(held, name);
  entry.querySelector('.detail').textContent = detail;
  const mark = entry.querySelector('.badge');
  mark.textContent = badge;
  mark.dataset.tone = tone;
  entry.dataset.status = held.status;
  entry.dataset.plan = held.plan;
  return entry;
}

/** `3 × Supporter share` */
export function title(held, name) {
  return held.quantity > 1 ? `${held.quantity} × ${name(held.plan)}` : name(held.plan);
}
