// Elements, made without ever parsing markup: whatever comes from elsewhere is text.

import { T } from './texts.js';

/** By id. */
export const find = (id) => document.getElementById(id);

const isThere = (child) => child != null && child !== false && child !== '';

/**
 * An element: `h('p', { class: 'hint' }, 'text', child)`. Of the properties, `on` are listeners, `data` is the dataset,
 * `value`, `checked` and `disabled` are the element's own; null and false are left out, among children too.
 */
export function h(name, props = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(props)) {
    if (key === 'on') Object.entries(value).forEach(([event, does]) => made.addEventListener(event, does));
    else if (key === 'data') Object.entries(value).forEach(([word, text]) => isThere(text) && (made.dataset[word] = text));
    else if (['value', 'checked', 'disabled', 'hidden'].includes(key)) made[key] = value ?? '';
    else if (value != null && value !== false) made.setAttribute(key, value === true ? '' : value);
  }
  made.append(...children.flat(Infinity).filter(isThere));
  return made;
}

/** A button that does something here. */
export function button(text, onClick, props = {}) {
  return h('button', { type: 'button', ...props, on: { click: onClick } }, text);
}

/** Puts these in the place of all that was in it. */
export function fill(element, ...children) {
  element.replaceChildren(...children.flat(Infinity).filter(isThere));
  return element;
}

/** Words for those who listen only. */
export const unseen = (text) => h('span', { class: 'unseen' }, text);

const isWorking = (element) => element.ariaDisabled === 'true';

/** Runs what a button began. Meanwhile the button says so, keeps the focus and is not to be pressed again. */
export async function working(element, run) {
  if (isWorking(element)) return undefined;
  const words = [...element.childNodes];
  element.ariaDisabled = 'true';
  element.replaceChildren(T.oneMoment);
  try {
    return await run();
  } finally {
    element.replaceChildren(...words);
    element.ariaDisabled = null;
  }
}

/** Tells it to those who listen, politely. The same words twice are told twice. */
export function announce(text) {
  const said = find('said');
  said.textContent = '';
  // A live region tells a change only after it was there empty.
  setTimeout(() => {
    said.textContent = text;
  }, 50);
}

let ids = 0;

/** An id for what labels or describes something. */
export function newId(word = 'id') {
  ids += 1;
  return `${word}-${ids}`;
}

/** A field with its label and what must be said about it; `told` puts a complaint there. */
export function field(label, input, { hint = '' } = {}) {
  input.id ||= newId('field');
  const about = h('p', { class: 'hint', id: `${input.id}-hint` }, hint);
  const wrong = h('p', { class: 'wrong', id: `${input.id}-wrong`, hidden: true });
  input.setAttribute('aria-describedby', `${about.id} ${wrong.id}`);
  const made = h('div', { class: 'field' }, h('label', { for: input.id }, label), input, hint ? about : null, wrong);
  return {
    element: made,
    input,
    told(complaint) {
      wrong.textContent = complaint ?? '';
      wrong.hidden = !complaint;
      input.ariaInvalid = complaint ? 'true' : null;
    },
  };
}

/** A select box of `[value, words]` pairs. */
export function select(choices, chosen = '', props = {}) {
  const options = choices.map(([value, words]) => {
    const option = h('option', { value }, words);
    option.selected = value === chosen;
    return option;
  });
  return h('select', props, options);
}

/** Radio buttons of `{ value, words, hint, disabled }`, as a fieldset. */
export function choices(legend, name, all, chosen) {
  const options = all.map(({ value, words, hint, disabled }) => {
    const hintId = newId('hint');
    const radio = h('input', { type: 'radio', name, value, checked: value === chosen, disabled: Boolean(disabled) });
    if (hint) radio.setAttribute('aria-describedby', hintId);
    return h('div', { class: 'option' }, h('label', {}, radio, h('span', {}, words)), hint && h('p', { class: 'hint', id: hintId }, hint));
  });
  return h('fieldset', { class: 'choices' }, h('legend', {}, legend), options);
}

export const picked = (form, name) => form.querySelector(`input[name="${name}"]:checked`)?.value;
