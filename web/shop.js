// What is offered, the basket, and the way to pay.

import { buy } from './api.js';
import { allowsAmount, allowsQuantity, canChange, isComplete, keep, kept, missing, obstacle, order, price, put, renews, total, trial } from './basket.js';
import { date, decimal, interval, listed, minorUnits, moment, money } from './format.js';
import { button, copy, find, isWorking, leave, notify, tell, working } from './page.js';
import { ADVICE, KINDS, state } from './words.js';

/** What the page knows: `{ plans, held, today }`. */
let known;
/** `act(id, what)` does something with what is hers, `refresh()` looks at it again. */
let actions;
let lines = [];
/** By plan: brings a card up to date, and its field for a number or an amount. */
const cards = new Map();

/** Shows the catalogue; what was in the basket is in it again. */
export function showShop(catalogue, model, does) {
  known = model;
  actions = does;
  lines = kept(known.plans);
  showPrices(catalogue);
  const groups = Object.entries(KINDS)
    .map(([kind, words]) => [words, known.plans.filter((plan) => plan.kind === kind)])
    .filter(([, offered]) => offered.length);
  const sections = groups.map(([words, offered]) => {
    const section = copy('group');
    section.querySelector('h2').textContent = words.title;
    section.querySelector('.about').textContent = words.about;
    section.querySelector('ul').append(...offered.map(card));
    return section;
  });
  find('plans').replaceChildren(...sections);
  find('plans').removeAttribute('aria-busy');
  find('basket').hidden = !sections.length;
  find('basket-form').onsubmit = pay;
  update();
}

/** Takes over what she holds now. */
export function holds(held) {
  known = { ...known, held };
  notifyBasket('');
  update();
}

function showPrices({ stale, as_of: at }) {
  const line = find('prices');
  line.hidden = !stale;
  line.textContent = stale ? `Prices as of ${moment(at)}.` : '';
}

function card(plan) {
  const entry = copy('plan');
  const form = entry.querySelector('form');
  form.dataset.plan = plan.code;
  const part = (name) => form.querySelector(name);
  part('h3').textContent = plan.name;
  part('.description').textContent = plan.description ?? '';
  part('.costs').hidden = plan.price.unit_amount == null;
  part('.amount').textContent = plan.price.formatted;
  part('.interval').textContent = interval(plan.price) || (plan.quantity.max > 1 ? 'each' : '');
  const field = choice(form, plan);
  form.noValidate = true;
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    toggle(plan, field);
  });
  const toggler = part('button[type=submit]');
  const changer = part('button.change');
  changer.setAttribute('aria-label', `Change to this: ${plan.name}`);
  changer.addEventListener('click', () => actions.act(obstacle(plan, known.held).id, 'change', plan.code));

  cards.set(plan.code, {
    field,
    update() {
      const line = lines.find((one) => one.plan.code === plan.code);
      const mine = obstacle(plan, known.held);
      const days = trial(plan, known.held);
      form.classList.toggle('chosen', Boolean(line));
      tell(part('.trial'), days && !mine ? `The first ${days} days are free.` : '');
      tell(part('.condition'), condition(plan));
      tell(part('.held'), mine ? heldWords(plan, mine) : '');
      changer.hidden = !mine || mine.plan === plan.code || !canChange(mine) || !renews(plan);
      part('.choice').hidden = Boolean(mine) || !field;
      toggler.hidden = Boolean(mine);
      toggler.classList.toggle('plain', Boolean(line));
      const rival = !line && renews(plan) && lines.find((one) => renews(one.plan));
      const verb = line ? 'Take out' : 'Add to basket';
      toggler.textContent = verb;
      toggler.setAttribute('aria-label', `${verb}: ${plan.name}`);
      tell(part('.rival'), rival && !mine ? `Takes the place of “${rival.plan.name}” in your basket.` : '');
    },
  });
  return entry;
}

function condition(plan) {
  const kind = missing(plan, [], known.held);
  return kind ? `For those who have ${KINDS[kind].one}, or put one into the same basket.` : '';
}

function heldWords(plan, mine) {
  if (mine.plan !== plan.code) return `You have “${nameOf(mine.plan)}”.`;
  return mine.entitled ? (KINDS[plan.kind].held ?? 'You have this.') : state(mine).detail;
}

const nameOf = (code) => known.plans.find((plan) => plan.code === code)?.name ?? code;

/** Sets up the field for a number or an amount; null where there is nothing to choose. */
function choice(form, plan) {
  const { code, quantity, amount, price: { currency } } = plan;
  const part = form.querySelector('.choice');
  if (!amount && quantity.max === quantity.min) {
    part.hidden = true;
    return null;
  }
  const [input, label, hint, output] = ['input', 'label', '.hint', 'output'].map((name) => part.querySelector(name));
  input.id = `choice-${code}`;
  label.htmlFor = input.id;
  output.htmlFor = input.id;
  hint.id = `hint-${code}`;
  input.setAttribute('aria-describedby', hint.id);
  const presets = part.querySelector('.presets');
  const steps = quantity.step > 1 ? `, in steps of ${quantity.step}` : '';
  let words;
  if (amount) {
    label.textContent = `Amount in ${currency.toUpperCase()}`;
    input.inputMode = 'decimal';
    input.autocomplete = 'off';
    input.value = decimal(amount.presets[0] ?? amount.min, currency);
    words = `From ${money(amount.min, currency)} to ${money(amount.max, currency)}.`;
    presets.hidden = !amount.presets.length;
    presets.setAttribute('aria-label', 'Suggestions');
    presets.append(
      ...amount.presets.map((preset) => {
        const suggestion = button(money(preset, currency), 'preset', () => {
          input.value = decimal(preset, currency);
          changed();
        });
        suggestion.dataset.amount = preset;
        return suggestion;
      }),
    );
  } else {
    label.textContent = 'How many';
    Object.assign(input, { type: 'number', min: quantity.min, max: quantity.max, step: quantity.step, value: quantity.min });
    input.inputMode = 'numeric';
    words = quantity.min > 1 ? `From ${quantity.min} to ${quantity.max}${steps}.` : `At most ${quantity.max}${steps}.`;
  }
  const chosen = () =>
    amount ? { amount: minorUnits(input.value, currency) } : { quantity: input.value === '' ? null : Number(input.value) };
  const isValid = () => (amount ? allowsAmount(plan, chosen().amount) : allowsQuantity(plan, chosen().quantity));

  function changed() {
    complain(false);
    show();
    const line = lines.find((one) => one.plan.code === code);
    if (!line) return;
    Object.assign(line, chosen());
    keep(lines);
    update();
  }

  function show() {
    const sum = price({ plan, ...chosen() });
    output.textContent = !amount && sum != null ? `= ${money(sum, currency)}` : '';
    for (const preset of presets.children) {
      preset.setAttribute('aria-pressed', Number(preset.dataset.amount) === chosen().amount);
    }
  }

  /** Marks the field as wrong, or no longer. */
  function complain(wrong) {
    input.ariaInvalid = wrong ? 'true' : null;
    hint.textContent = wrong ? `That can’t be bought: ${words[0].toLowerCase()}${words.slice(1)}` : words;
    hint.classList.toggle('wrong', wrong);
    if (wrong) input.focus();
  }

  const line = lines.find((one) => one.plan.code === code);
  if (line) input.value = amount ? decimal(line.amount, currency) : (line.quantity ?? '');
  input.addEventListener('input', changed);
  input.addEventListener('keydown', (event) => {
    // Enter puts it in; it never takes out what was just put right.
    if (event.key === 'Enter' && lines.some((one) => one.plan.code === code)) event.preventDefault();
  });
  input.addEventListener('change', () => complain(!isValid() && lines.some((one) => one.plan.code === code)));
  hint.textContent = words;
  show();
  return { chosen, isValid, complain };
}

function toggle(plan, field) {
  if (lines.some((one) => one.plan.code === plan.code)) {
    takeOut(plan);
    return;
  }
  if (field && !field.isValid()) {
    field.complain(true);
    return;
  }
  const added = { plan, quantity: plan.quantity.min, ...field?.chosen() };
  const { lines: all, out } = put(lines, added);
  lines = all;
  const sum = total(lines, known.held, known.today);
  const now = sum.now == null ? '' : ` To pay now: ${money(sum.now, sum.currency)}.`;
  const names = listed(out.map((one) => `“${one.plan.name}”`));
  const why = out.some((one) => renews(one.plan) && renews(plan))
    ? 'one payment can hold one plan that renews'
    : 'they are sold in different currencies';
  if (out.length) say(`“${plan.name}” took the place of ${names}: ${why}.${now}`);
  else say(`“${plan.name}” is in your basket.${now}`, { quietly: true });
  changedBasket();
}

/** Keeps the basket and shows it. */
function changedBasket() {
  keep(lines);
  notifyBasket('');
  update();
}

function takeOut(plan) {
  lines = lines.filter((one) => one.plan.code !== plan.code);
  say(`“${plan.name}” is no longer in your basket.`, { quietly: true });
  changedBasket();
}

/** Tells what has just happened to the basket: to everybody, or only to who does not see it. */
function say(text, { quietly = false } = {}) {
  const said = find('said');
  said.textContent = text;
  said.classList.toggle('unseen', quietly);
}

/** Brings cards and basket up to date with what is in it and what she holds. */
function update() {
  const gone = lines.filter((line) => obstacle(line.plan, known.held));
  if (gone.length) {
    lines = lines.filter((line) => !gone.includes(line));
    keep(lines);
    const names = listed(gone.map((line) => `“${line.plan.name}”`));
    say(`${names} left your basket: you have ${gone.length > 1 ? 'them' : 'it'}, or what takes its place, already.`);
  }
  for (const { update: refresh } of cards.values()) refresh();
  showBasket();
}

function showBasket() {
  find('basket-empty').hidden = Boolean(lines.length);
  find('basket-form').hidden = !lines.length;
  find('basket-lines').replaceChildren(...lines.map(basketLine));
  const sum = total(lines, known.held, known.today);
  const now = sum.now == null ? '–' : lines.length ? money(sum.now, sum.currency) : '';
  find('now').textContent = now;
  tell(find('later'), later(sum));
  tell(find('unmet'), unmet());
  tell(find('taxes'), lines.some((line) => line.plan.price.tax_behavior === 'exclusive') ? 'Tax comes on top: the next page shows it.' : '');
  const pays = find('pay');
  pays.textContent = sum.now === 0 && sum.later?.days ? `Begin ${sum.later.days} days free` : `Pay ${now}`;
  const bar = find('bar');
  bar.hidden = !lines.length;
  find('bar-what').textContent = lines.length === 1 ? '1 thing' : `${lines.length} things`;
  find('bar-now').textContent = now;
}

function basketLine(line) {
  const entry = copy('basket-line');
  const { plan, quantity } = line;
  entry.dataset.plan = plan.code;
  entry.querySelector('.name').textContent = quantity > 1 ? `${quantity} × ${plan.name}` : plan.name;
  const sum = price(line);
  const days = trial(plan, known.held);
  const fixed = sum === plan.price.unit_amount && plan.price.formatted;
  entry.querySelector('.sum').textContent = sum == null ? 'Check it above' : fixed || money(sum, plan.price.currency);
  tell(entry.querySelector('.how'), days ? `${days} days free first` : interval(plan.price));
  const out = entry.querySelector('button');
  out.setAttribute('aria-label', `Take out: ${plan.name}`);
  out.addEventListener('click', () => {
    takeOut(plan);
    // Its button is gone: on to what is left, or to the title.
    (find('basket-lines').querySelector('button') ?? find('basket-title')).focus();
  });
  return entry;
}

/** What renews when, in a sentence. */
function later({ later: then, currency }) {
  if (!then || then.amount == null) return '';
  const amount = `${money(then.amount, currency)} ${interval(then)}`;
  const stop = 'until you cancel';
  if (then.days) return `${then.days} days free, then ${amount} from ${date(then.from)}, ${stop}.`;
  return `Then ${amount} from ${date(then.from)}, ${stop}.`;
}

function unmet() {
  const wanting = lines.filter((line) => missing(line.plan, lines, known.held));
  if (!wanting.length) return '';
  const kinds = [...new Set(wanting.map((line) => KINDS[missing(line.plan, lines, known.held)].one))];
  const names = listed(wanting.map((line) => `“${line.plan.name}”`));
  return `${names} needs ${listed(kinds)}: add one, or pay for the rest alone.`;
}

async function pay(event) {
  event.preventDefault();
  if (isWorking(find('pay'))) return;
  const wrong = lines.find((line) => !isComplete(line));
  if (wrong) {
    cards.get(wrong.plan.code).field.complain(true);
    return;
  }
  notifyBasket('');
  try {
    await working(find('pay'), async () => leave(await buy(order(lines))));
  } catch (problem) {
    await explain(problem);
  }
}

async function explain(problem) {
  if (problem.code === 'already_held' && problem.answer.subscription) {
    const { id, plan, advice } = problem.answer.subscription;
    // Somebody bought it meanwhile, in another tab perhaps: first show what she has.
    await actions.refresh().catch(notify);
    say('');
    const [sentence, verb] = (ADVICE[advice] ?? ADVICE.portal)(nameOf(plan));
    const acts = { resume: 'resume', pay: 'pay', change_plan: 'change', portal: 'portal' };
    notifyBasket(sentence, verb && button(verb, 'plain', () => actions.act(id, acts[advice] ?? 'portal')));
    return;
  }
  if (problem.code === 'requirement_unmet') {
    notifyBasket(unmet() || problem.message);
    find('unmet').hidden = true;
    return;
  }
  notifyBasket(problem.message);
}

function notifyBasket(text, next) {
  const notice = find('basket-notice');
  notice.hidden = !text;
  notice.replaceChildren(...[text, next].filter(Boolean));
  if (text) notice.scrollIntoView({ block: 'nearest' });
}
