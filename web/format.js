// Money, dates and periods. Amounts are whole minor units all the way: `3000, 'eur'` is €30.00; no float ever adds up.

/** Amounts as the service writes them, in the browser's language; the page's own words are English, and so are dates. */
const READER = navigator.languages?.[0] ?? 'en';
const ENGLISH = READER.startsWith('en') ? READER : 'en-IE';

const currencies = new Map();

function currencyFormat(currency) {
  if (!currencies.has(currency)) {
    const style = { style: 'currency', currency, currencyDisplay: 'narrowSymbol' };
    currencies.set(currency, new Intl.NumberFormat(READER, style));
  }
  return currencies.get(currency);
}

/** How many digits a currency has after its point: not every one has cents. */
export function digits(currency) {
  return currencyFormat(currency).resolvedOptions().maximumFractionDigits;
}

/** An amount of minor units as text without a sign, such as `12.50`; empty for none. */
export function decimal(minor, currency) {
  if (minor == null) return '';
  const places = digits(currency);
  const all = String(Math.abs(minor)).padStart(places + 1, '0');
  const text = places ? `${all.slice(0, -places)}.${all.slice(-places)}` : all;
  return minor < 0 ? `-${text}` : text;
}

/** An amount as people read it. */
export function money(minor, currency) {
  return currencyFormat(currency).format(decimal(minor, currency));
}

/** What was typed, `12.5` or `12,50`, in minor units; null if it is no amount. */
export function minorUnits(typed, currency) {
  const places = digits(currency);
  const [, whole, fraction = ''] = typed.trim().match(/^(\d{1,9})(?:[.,](\d*))?$/) ?? [];
  if (whole === undefined || fraction.length > places) return null;
  return Number(whole + fraction.padEnd(places, '0'));
}

const longDate = new Intl.DateTimeFormat(ENGLISH, { dateStyle: 'long' });
const longMoment = new Intl.DateTimeFormat(ENGLISH, { dateStyle: 'long', timeStyle: 'short' });

export const date = (text) => longDate.format(new Date(text));
export const moment = (text) => longMoment.format(new Date(text));

const UNITS = new Set(['day', 'week', 'month', 'year']);

/** `a year`, `every 3 months`; nothing for what is paid once. */
export function interval({ recurring }) {
  if (!recurring) return '';
  const { interval: unit, interval_count: count } = recurring;
  return count > 1 ? `every ${count} ${unit}s` : `a ${unit}`;
}

/** When a period that begins then is over; a month after 31 January is the last of February. */
export function periodEnd(start, { interval: unit, interval_count: count }) {
  const end = new Date(start);
  if (!UNITS.has(unit)) return end;
  if (unit === 'day' || unit === 'week') {
    end.setUTCDate(end.getUTCDate() + count * (unit === 'week' ? 7 : 1));
    return end;
  }
  const day = end.getUTCDate();
  end.setUTCDate(1);
  end.setUTCMonth(end.getUTCMonth() + count * (unit === 'year' ? 12 : 1));
  const last = new Date(Date.UTC(end.getUTCFullYear(), end.getUTCMonth() + 1, 0)).getUTCDate();
  end.setUTCDate(Math.min(day, last));
  return end;
}

/** `one`, `one and two`, `one, two and three`. */
export const listed = (words) => new Intl.ListFormat('en', { type: 'conjunction' }).format(words);
