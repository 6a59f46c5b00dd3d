// The one form in which something is done: reason and reference, what will happen, then the act itself under one key.

import { Problem, get, isGone, path, planName, post, withQuery } from '../api.js';
import { announce, button, field, fill, h, newId, select, unseen, working } from '../dom.js';
import { told } from '../parts.js';
import { reload, tellNext, to } from '../router.js';
import { session, setKeeper } from '../session.js';
import { ACTS, OUTCOMES, PROBLEMS, REASONS, T } from '../texts.js';
import { KINDS } from './kinds.js';

const F = ACTS.form;
const REFERENCE = /^[A-Za-z0-9./_-]{1,40}$/;
/** What has changed under our hands: it is shown anew, and asked again. */
const MOVED = new Set(['row_moved', 'already_refunded_moved']);

/** Opens the form; `back` gets the focus when nothing was done, `kept` is a form from before the login. */
export function open(verb, subject, { back, kept } = {}) {
  const form = new ActForm(verb, subject, back, kept);
  return form.open();
}

class ActForm {
  constructor(verb, subject, back, kept) {
    Object.assign(this, { verb, subject, back, kept, kind: KINDS[verb] });
    /** The act's id: the same for every repeat of the same act. */
    this.key = kept?.key ?? crypto.randomUUID();
    /** The act that the key was used for, as text; null as long as it was not. */
    this.keyFor = kept?.keyFor ?? null;
    /** editing, previewed, open (nobody knows whether it happened) */
    this.phase = 'editing';
    this.build();
  }

  build() {
    const { verb, subject, kind } = this;
    const titleId = newId('act');
    const words = ACTS[verb];
    const reasons = session.me.reasons.map((code) => [code, REASONS[code]?.[0] ?? code]);
    this.reason = field(F.reason, select([['', F.reasonChoose], ...reasons], '', { name: 'reason', required: true }), { hint: ' ' });
    this.reason.input.addEventListener('change', () => this.tellReason());
    this.reference = field(F.reference, h('input', { name: 'reference', maxlength: 40, autocomplete: 'off', spellcheck: 'false', autocapitalize: 'off' }), { hint: F.referenceHint });
    this.fields = kind.fields(this);
    this.what = h('fieldset', { class: 'bare' }, unseenLegend(words.title), this.fields.element);
    this.why = h('fieldset', { class: 'bare' }, unseenLegend(F.why), this.reason.element, this.reference.element);
    this.what.addEventListener('input', () => this.changed());
    this.preview = h('section', { class: 'preview', tabindex: '-1', 'aria-label': F.previewTitle, hidden: true });
    this.notice = h('div', { class: 'notice', role: 'alert', hidden: true });
    this.looks = h('button', { type: 'submit' }, F.preview);
    this.does = button('', () => this.act(), { hidden: true, class: kind.isGrave ? 'grave' : null, id: 'act-do' });
    this.leaves = button(F.leave, () => this.close(), { class: 'plain' });
    const submit = (event) => {
      event.preventDefault();
      // Enter in a field never does it: only the button does.
      if (this.phase === 'editing') this.look();
    };
    this.form = h('form', { novalidate: true, on: { submit } }, this.fields.element && this.what, this.preview, this.why, this.notice, h('p', { class: 'actions' }, this.does, this.looks, this.leaves));
    this.dialog = h('dialog', { 'aria-labelledby': titleId, class: kind.isWide ? 'wide' : null, on: { cancel: (event) => this.cancel(event) } },
      h('h2', { id: titleId }, words.title),
      h('p', { class: 'on' }, onWhat(subject)),
      h('p', { class: 'hint' }, words.about),
      this.form);
  }

  async open() {
    document.body.append(this.dialog);
    this.dialog.showModal();
    this.isOpen = true;
    // Whoever goes to another page has left the form.
    this.onPage = () => this.isOpen && this.close({ isLeft: true });
    addEventListener('console:page', this.onPage);
    setKeeper(() => this.keep());
    try {
      await this.fields.prepare?.();
    } catch (problem) {
      this.complain(problem);
      this.looks.hidden = true;
      return;
    }
    if (this.kept) await this.restore();
    else if (this.fields.element) this.what.querySelector('input:not(:disabled)')?.focus();
    else await this.look();
  }

  /** What must outlive the way through the login. */
  keep() {
    if (!this.isOpen) return null;
    const { verb, key, keyFor, phase, wasPreviewed, sent } = this;
    const { user, event, held } = this.subject;
    const ids = { user, event: event && { id: event.id, type: event.type }, held: held && { id: held.id } };
    return { verb, subject: ids, key, keyFor, phase, wasPreviewed, sent, values: { ...this.fields.values(), reason: this.reason.input.value, reference: this.reference.input.value } };
  }

  async restore() {
    const { values, phase, wasPreviewed, sent } = this.kept;
    this.reason.input.value = values.reason;
    this.tellReason();
    this.reference.input.value = values.reference;
    await this.fields.restore(values);
    announce(F.restored);
    if (phase === 'open') {
      // It may have happened: only the very same is asked again.
      this.sent = sent;
      this.isUnknown(F.unknown);
    } else if (wasPreviewed || !this.fields.element) await this.look();
  }

  tellReason() {
    const about = this.reason.element.querySelector('.hint');
    about.textContent = REASONS[this.reason.input.value]?.[1] ?? '';
    if (this.reason.input.value) this.reason.told('');
  }

  /** Something was changed: what was shown does not count any more. */
  changed() {
    this.fields.changed?.();
    if (this.phase !== 'previewed') return;
    this.phase = 'editing';
    this.wasPreviewed = false;
    this.shown = null;
    this.does.hidden = true;
    this.looks.hidden = false;
    fill(this.preview, h('p', { class: 'hint' }, F.changed));
  }

  /** What is to be done, or null if something is missing, which is then marked. */
  read() {
    const own = this.fields.read();
    if (!own) this.form.querySelector('[aria-invalid="true"]')?.focus();
    const version = this.subject.held?.version;
    return own && { ...own, ...(version != null && { version }) };
  }

  /** Why it is done, or null if that is missing, which is then marked. */
  readWhy() {
    const reason = this.reason.input.value;
    const reference = this.reference.input.value.trim();
    const isGood = !reference || REFERENCE.test(reference);
    this.reason.told(reason ? '' : F.reasonMissing);
    this.reference.told(isGood ? '' : F.referenceHint);
    if (!reason) this.reason.input.focus();
    else if (!isGood) this.reference.input.focus();
    return reason && isGood ? { reason, ...(reference && { reference }) } : null;
  }

  get path() {
    return this.kind.path(this.subject, this.verb);
  }

  /** Asks what would happen. */
  async look() {
    const body = this.read();
    if (!body) return;
    this.tell();
    await working(this.looks, async () => {
      this.wasPreviewed = true;
      try {
        const answer = await post(this.path, { ...body, dry_run: true });
        if (this.isOpen) this.show(body, answer.preview);
      } catch (problem) {
        this.wasPreviewed = false;
        await this.failed(problem, true);
      }
    });
  }

  show(body, preview) {
    this.phase = 'previewed';
    this.shown = { body, preview };
    const warnings = preview.warnings ?? [];
    fill(
      this.preview,
      h('h3', {}, F.previewTitle),
      this.kind.preview(preview, this.subject),
      (preview.text ?? []).length > 0 && h('ul', { class: 'plain-list' }, preview.text.map((one) => h('li', {}, one))),
      warnings.length > 0 && h('div', { class: 'warning' }, h('p', {}, h('strong', {}, F.careful)), h('ul', {}, warnings.map((one) => h('li', {}, one)))),
    );
    this.preview.hidden = false;
    this.words = this.kind.verb(body, preview);
    this.does.textContent = this.words;
    this.does.hidden = false;
    this.looks.hidden = true;
    // What will happen is read first: a second press of Enter must not do it.
    this.preview.focus({ preventScroll: true });
    this.preview.scrollIntoView({ block: 'nearest' });
  }

  /** Does it: under the key that this very act has, so that a repeat is the same act. */
  async act() {
    if (this.phase === 'open') {
      await this.send(this.sent, this.does);
      return;
    }
    if (this.phase !== 'previewed') return;
    const why = this.readWhy();
    if (!why) return;
    const { body, preview } = this.shown;
    const whole = { ...body, ...this.kind.fromPreview?.(preview), ...why };
    const text = JSON.stringify(whole);
    if (this.keyFor !== null && this.keyFor !== text) this.key = crypto.randomUUID();
    this.keyFor = text;
    await this.send(whole, this.does);
  }

  async send(body, pressed) {
    this.sent = body;
    this.tell();
    await working(pressed, async () => {
      this.isDoing = true;
      try {
        await this.ended(await post(this.path, body, { key: this.key }));
      } catch (problem) {
        await this.failed(problem, false);
      } finally {
        this.isDoing = false;
      }
    });
    // What it does may be another thing now; while it was busy it said so.
    this.does.textContent = this.words;
  }

  async ended({ action }) {
    if (action.state === 'started' || action.state === 'unknown') {
      this.isUnknown(action.state === 'started' ? F.running : F.unknownState);
      return;
    }
    const words = OUTCOMES[action.outcome] ?? (action.outcome && action.outcome !== action.state ? `${T.actionStates[action.state]}: ${action.outcome}` : T.actionStates[action.state]);
    if (action.state === 'refused') {
      // The same key would only repeat this answer.
      this.renewKey();
      this.phase = 'editing';
      this.does.hidden = true;
      this.looks.hidden = false;
      const [cause, todo] = PROBLEMS[action.outcome] ?? [words, ''];
      this.tell(h('p', {}, h('strong', {}, F.refused)), h('p', {}, cause, ' ', todo));
      return;
    }
    const rest = this.sent.also_cancel ? await this.cancellation(action) : '';
    tellNext([h('strong', {}, `${ACTS[this.verb].title}: `), words, rest, ' ', this.toLog()]);
    this.close({ isDone: true });
    await reload();
  }

  /** What became of the second act, where it did not go as well as the first. */
  async cancellation({ id }) {
    const about = { ...this.kind.inLog(this.subject), verb: 'cancel', limit: 20 };
    const { data } = await get(withQuery('/actions', about)).catch(() => ({ data: [] }));
    const second = data.find(({ parent }) => parent === id);
    if (!second || second.state === 'done') return '';
    return F.butCancel(OUTCOMES[second.outcome] ?? PROBLEMS[second.outcome]?.[0] ?? T.actionStates[second.state]);
  }

  renewKey() {
    this.key = crypto.randomUUID();
    this.keyFor = null;
  }

  /** Nobody knows whether it happened: the only way on is the same act again. */
  isUnknown(words) {
    this.phase = 'open';
    this.what.disabled = true;
    this.why.disabled = true;
    this.looks.hidden = true;
    this.does.hidden = false;
    this.words = F.lookAgain;
    this.does.textContent = this.words;
    this.leaves.textContent = F.close;
    this.tell(h('p', {}, h('strong', {}, F.unknownTitle)), h('p', {}, words), h('p', {}, this.toLog()));
  }

  /** To what the log says of it. */
  toLog() {
    return h('a', { href: to('log', this.kind.inLog(this.subject)) }, F.log);
  }

  async failed(problem, isDry) {
    if (isGone(problem) || !this.isOpen) return;
    if (!(problem instanceof Problem)) throw problem;
    if (MOVED.has(problem.code)) {
      await this.moved(problem);
    } else if (problem.isOpen && !isDry) {
      this.isUnknown([problem.status ? `${problem.cause} ` : '', F.unknown]);
    } else {
      this.complain(problem);
    }
  }

  /** It is not as it was: reads it anew, and shows what would happen now. */
  async moved(problem) {
    this.renewKey();
    this.phase = 'editing';
    this.does.hidden = true;
    this.looks.hidden = false;
    const { held } = this.subject;
    if (held) this.subject.held = await get(path('subscriptions', held.id)).catch(() => held);
    this.isStale = true;
    try {
      await this.fields.prepare?.();
      const body = this.read();
      const answer = body && await post(this.path, { ...body, dry_run: true });
      if (answer) this.show(body, answer.preview);
    } catch (other) {
      this.complain(other);
      return;
    }
    this.tell(h('p', {}, h('strong', {}, problem.cause)), h('p', {}, F.moved));
  }

  complain(problem) {
    this.reason.told(problem.field?.('reason'));
    this.reference.told(problem.field?.('reference'));
    this.fields.complain?.(problem);
    this.tell(told(problem));
  }

  tell(...content) {
    const isAny = content.flat().filter(Boolean).length > 0;
    fill(this.notice, content);
    this.notice.hidden = !isAny;
    if (isAny) this.notice.scrollIntoView({ block: 'nearest' });
  }

  cancel(event) {
    event.preventDefault();
    this.close();
  }

  close({ isDone = false, isLeft = false } = {}) {
    // Until it is known how it came out, the form stays.
    if (this.isDoing && !isDone) return;
    this.isOpen = false;
    removeEventListener('console:page', this.onPage);
    setKeeper(() => null);
    this.dialog.close();
    this.dialog.remove();
    if (isDone || isLeft) return;
    this.back?.focus();
    // Something happened, or may have: the page shows it as it is now.
    if (this.isStale || this.phase === 'open') reload();
  }
}

function onWhat({ held, user, event }) {
  if (held) return [h('strong', {}, planName(held.plan)), ' · ', held.user_id];
  if (event) return [h('strong', {}, event.type), ' · ', h('code', {}, event.id)];
  return user;
}

const unseenLegend = (text) => h('legend', {}, unseen(text));
