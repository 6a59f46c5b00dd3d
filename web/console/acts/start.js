// The buttons that begin an act, for those who may; and the form that was open before the way through the login.

import { button, h, newId } from '../dom.js';
import { keptForm, may } from '../session.js';
import { ACTS } from '../texts.js';
import { KINDS } from './kinds.js';
import { open } from './form.js';

/**
 * A button for an act on `{ held }` a subscription, `{ user }` a member or `{ event }` a message. Who only looks gets none;
 * who lacks the role sees which one is missing.
 */
export function actButton(verb, subject, { hint } = {}) {
  const kind = KINDS[verb];
  if (!kind || (!may('act') && !may('money'))) return null;
  const lacks = may(kind.needs) ? '' : ACTS.form.lacks[kind.needs];
  const about = newId('about');
  const opens = button(ACTS[verb].button, () => !lacks && open(verb, subject, { back: opens }), {
    class: kind.isGrave ? 'plain grave' : 'plain',
    'aria-disabled': lacks ? 'true' : null,
    'aria-describedby': lacks || hint ? about : null,
    data: { verb },
  });
  const words = lacks || hint;
  return h('div', { class: 'act' }, opens, words && h('p', { class: 'hint', id: about }, words));
}

/** Opens the form that was kept for this page, if there is one; `subject` is what the page shows now. */
export function restore(subject = {}) {
  const kept = keptForm();
  if (!kept) return;
  open(kept.verb, { ...kept.subject, ...subject }, { kept });
}
