// The one dialog: it asks before something is done, and shows what went wrong while it was.

import { find, isWorking, span, working } from './page.js';

let asked = {};
/** Whether it is being done: until that is known, the dialog stays. */
let isDoing = false;

/**
 * Asks before it does: `run` does it, and `done` is told how it came out, once the dialog is closed. The answer is a
 * handle on this question; when another one is on the screen, it does nothing any more.
 */
export function ask({ title, body, verb = '', back, ...question }) {
  const isAsked = () => asked === question;
  const handle = {
    offer: (words, isReady) => isAsked() && offer(words, isReady),
    complain: (text, next) => isAsked() && complain(text, next),
  };
  if (isDoing) return handle;
  asked = question;
  find('dialog-title').textContent = title;
  find('dialog-body').replaceChildren(...body);
  find('dialog-back').textContent = back;
  find('dialog-do').hidden = !verb;
  offer(verb, true);
  find('done').textContent = '';
  find('dialog').close();
  find('dialog').showModal();
  complain('');
  // A press by mistake changes nothing.
  if (!find('dialog-body').querySelector('input')) find('dialog-back').focus();
  return handle;
}

/** What the dialog's button says, and whether it may be pressed yet. */
function offer(verb, isReady) {
  const does = find('dialog-do');
  does.textContent = verb;
  does.ariaDisabled = isReady ? null : 'true';
}

/** Tells what went wrong, with a button that helps; false if no dialog is there to tell it. */
export function complain(text, next) {
  if (!find('dialog').open) return false;
  const notice = find('dialog-notice');
  notice.hidden = !text;
  notice.replaceChildren(...[text, next].filter(Boolean));
  if (text) notice.scrollIntoView({ block: 'nearest' });
  return true;
}

async function confirm() {
  const does = find('dialog-do');
  if (isWorking(does)) return;
  complain('');
  isDoing = true;
  let now;
  try {
    now = await working(does, asked.run);
  } catch (problem) {
    complain(...(asked.explain?.(problem) ?? [problem.message]));
    return;
  } finally {
    isDoing = false;
  }
  find('dialog').close();
  asked.done(now);
}

/** Listens to what is on the page from the beginning. */
export function listen() {
  find('dialog-do').addEventListener('click', confirm);
  find('dialog-back').addEventListener('click', () => isDoing || find('dialog').close());
  find('dialog').addEventListener('cancel', (event) => isDoing && event.preventDefault());
  find('dialog').addEventListener('input', () => asked.onInput?.());
}

/** Radio buttons: `[value, words, about]` each. */
export function options(legend, choices, first = choices[0][0]) {
  const set = document.createElement('fieldset');
  const head = document.createElement('legend');
  head.textContent = legend;
  set.append(head, ...choices.map(([value, words, about]) => {
    const label = document.createElement('label');
    const radio = document.createElement('input');
    Object.assign(radio, { type: 'radio', name: legend, value, checked: value === first });
    label.className = 'option';
    label.append(radio, span(words), span(about, 'hint'));
    return label;
  }));
  return [set];
}

export const picked = (name) => find('dialog').querySelector(`input[name="${name}"]:checked`)?.value;
