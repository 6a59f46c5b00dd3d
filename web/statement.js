// What she paid, got back and failed to pay in a time that she chooses: to read, to print, to keep as a file.

import { call, config, download } from './api.js';
import { date, money } from './format.js';
import { copy, find, frame, isWorking, link, notify, tell, working } from './page.js';
import { ENTRIES, KINDS } from './words.js';

let plans = [];
/** The service's day: it knows what time it is, whatever this machine thinks. */
let today = new Date().toISOString().slice(0, 10);
let shown = null;
let asked = 0;

const nameOf = (code) => plans.find((plan) => plan.code === code)?.name;
const period = () => document.querySelector('input[name="period"]:checked').value;

/** The days that were chosen, both included; null while they are none. */
function days() {
  const year = Number(today.slice(0, 4));
  switch (period()) {
    case 'this-year':
      return { from: `${year}-01-01`, to: today };
    case 'last-year':
      return { from: `${year - 1}-01-01`, to: `${year - 1}-12-31` };
    case 'months': {
      const from = new Date(`${today}T00:00:00Z`);
      from.setUTCFullYear(year - 1, from.getUTCMonth(), from.getUTCDate() + 1);
      return { from: from.toISOString().slice(0, 10), to: today };
    }
    default: {
      const [from, to] = [find('from').value, find('to').value];
      return from && to && from <= to ? { from, to } : null;
    }
  }
}

async function show() {
  const range = days();
  if (!range) return;
  const mine = (asked += 1);
  shown = range;
  notify(null);
  find('statement').setAttribute('aria-busy', 'true');
  find('waiting').hidden = false;
  remember(range);
  try {
    const statement = await call('GET', `/v1/statement?from=${range.from}&to=${range.to}`);
    if (mine === asked) tellAll(statement, range);
  } catch (problem) {
    if (mine !== asked) return;
    tellAll({ entries: [], totals: [], shares: { held: [] } }, null);
    notify(problem);
  }
  find('waiting').hidden = true;
  find('statement').setAttribute('aria-busy', 'false');
}

/** Keeps the choice in the address: it can be reloaded, and sent to herself. */
function remember({ from, to }) {
  const query = period() === 'own' ? `?from=${from}&to=${to}` : `?period=${period()}`;
  history.replaceState(null, '', query);
}

function recall() {
  const query = new URLSearchParams(location.search);
  const wanted = query.has('from') ? 'own' : query.get('period');
  const choice = [...document.querySelectorAll('input[name="period"]')].find((radio) => radio.value === wanted);
  if (choice) choice.checked = true;
  find('from').value = query.get('from') ?? `${today.slice(0, 4)}-01-01`;
  find('to').value = query.get('to') ?? today;
  find('dates').hidden = period() !== 'own';
}

function tellAll({ entries, totals, shares }, range) {
  const what = { 0: 'No payments', 1: '1 entry' }[entries.length] ?? `${entries.length} entries`;
  tell(find('range'), range && `${what} from ${day(range.from)} to ${day(range.to)}.`);
  find('entries').replaceChildren(...entries.map(entry));
  showTotals(totals);
  find('shares').hidden = !shares.held.length;
  tell(find('shares-on'), shares.held.length && `${shares.quantity} in all on ${date(shares.on)}.`);
  find('shares-list').replaceChildren(...shares.held.map((held) => {
    const name = nameOf(held.plan) ?? held.plan;
    return row(`${held.quantity} × ${name}`, `since ${date(held.since)}`);
  }));
}

/** A day by itself, which is the same everywhere. */
const day = (text) => date(`${text}T12:00:00`);

function entry(one) {
  const made = copy('entry');
  const words = ENTRIES[one.type] ?? { title: one.type };
  const part = (name) => made.querySelector(name);
  made.dataset.type = one.type;
  const at = part('time');
  at.dateTime = one.at;
  at.textContent = date(one.at);
  part('.name').textContent = words[one.state] ? `${words.title} · ${words[one.state]}` : words.title;
  const failed = one.attempted_amount;
  part('.sum').textContent = money(failed ?? one.amount, one.currency);
  part('.sum').classList.toggle('void', failed != null);
  // What failed came to nothing: that needs no sum a line.
  part('.sums').append(...one.lines.map((line) => row(purpose(line), '', failed == null && line, one.currency)));
  tell(part('.cause'), one.cause && [one.cause.message, one.cause.advice].filter(Boolean).join(' '));
  const papers = [
    ['Receipt', one.receipt_url],
    ['Invoice', one.invoice_url],
    ['Invoice as PDF', one.invoice_pdf],
  ].filter(([, url]) => url);
  const about = `${date(one.at)}, ${money(failed ?? one.amount, one.currency)}`;
  part('.papers').append(...papers.flatMap(([text, url]) => {
    const paper = link(text, url);
    paper.setAttribute('aria-label', `${text}: ${about}`);
    return [paper, ' '];
  }));
  part('.papers').hidden = !papers.length;
  return made;
}

/** What a line was for: its name, and its kind where the name doesn't say it. */
function purpose({ type, plan, kind, description, quantity }) {
  if (type === 'balance') return description ?? 'Credit from earlier';
  if (type === 'unassigned') return description ?? 'A part of the payment';
  const name = nameOf(plan) ?? description ?? plan ?? 'Not bought here';
  const many = quantity > 1 ? `${quantity} × ${name}` : name;
  const word = KINDS[kind]?.word ?? '';
  return name.toLowerCase().includes(word) ? many : `${many} · ${word}`;
}

function row(words, how, line, currency) {
  const made = document.createElement('li');
  const [left, right] = [document.createElement('span'), document.createElement('span')];
  left.textContent = words;
  right.className = 'sum';
  right.textContent = line ? money(line.amount, currency) : how;
  made.append(left, right);
  if (line?.tax) {
    const tax = document.createElement('span');
    tax.className = 'how hint';
    tax.textContent = `${money(line.tax, currency)} of it tax`;
    made.append(tax);
  }
  return made;
}

/** A row a kind and currency; columns that say nothing are left out. */
function showTotals(totals) {
  const columns = [
    ['paid', 'Paid'],
    ['refunded', 'Paid back'],
    ['disputed', 'Taken back'],
    ['net', 'Remains'],
    ['tax', 'Tax in it'],
  ];
  const isMoved = totals.some((total) => total.refunded || total.disputed);
  const said = columns.filter(([key]) => {
    if (key === 'net') return isMoved;
    return key === 'paid' || totals.some((total) => total[key]);
  });
  find('totals').hidden = !totals.length;
  const cell = (name, text, scope) => {
    const made = document.createElement(name);
    made.textContent = text;
    if (scope) made.scope = scope;
    return made;
  };
  find('totals-head').replaceChildren(cell('th', 'Purpose', 'col'), ...said.map(([, title]) => cell('th', title, 'col')));
  find('totals-rows').replaceChildren(...totals.map((total) => {
    const line = document.createElement('tr');
    const purposes = `${KINDS[total.kind]?.many ?? 'Other'}`;
    line.append(cell('th', purposes, 'row'), ...said.map(([key]) => cell('td', money(total[key], total.currency))));
    return line;
  }));
}

/** The file is fetched with the token, as links carry none. */
async function save(pressed) {
  if (isWorking(pressed) || !shown) return;
  notify(null);
  const { from, to } = shown;
  try {
    await working(pressed, async () => {
      const file = await download(`/v1/statement?from=${from}&to=${to}&format=csv`, 'text/csv');
      const address = URL.createObjectURL(file);
      const saver = link('', address);
      saver.download = `statement-${from}-${to}.csv`;
      saver.click();
      setTimeout(() => URL.revokeObjectURL(address), 60_000);
    });
  } catch (problem) {
    notify(problem);
  }
}

function choose() {
  const isOwn = period() === 'own';
  find('dates').hidden = !isOwn;
  if (!isOwn) show();
}

function submit(event) {
  event.preventDefault();
  const isGood = days() !== null;
  tell(find('dates-hint'), isGood ? '' : 'Choose a first day and a last one that is not before it.');
  find('from').ariaInvalid = isGood ? null : 'true';
  if (isGood) show();
  else find('from').focus();
}

async function begin() {
  find('period').addEventListener('change', (event) => event.target.name === 'period' && choose());
  find('period').addEventListener('submit', submit);
  find('csv').addEventListener('click', (event) => save(event.currentTarget));
  find('print').addEventListener('click', () => print());
  const { member } = await config();
  if (member?.name) document.querySelector('h1').textContent = `Statement for ${member.name}`;
  // Names of what is no longer sold come from the lines themselves.
  const catalogue = await call('GET', '/v1/plans', { anonymous: true }).catch(() => null);
  plans = catalogue?.data ?? [];
  today = catalogue?.as_of.slice(0, 10) ?? today;
  recall();
  await show();
}

frame().catch(notify);
begin().catch(notify);
