// Amounts, dates and numbers. Amounts are whole minor units all the way: no float ever adds up.

import { LANGUAGE, T } from './texts.js';

/** Dates as the reader's region writes them, if it speaks the language of the texts. */
const LOCALE = navigator.languages?.find((one) => one.startsWith(LANGUAGE)) ?? (LANGUAGE === 'en' ? 'en-GB' : LANGUAGE);

/** As Stripe counts: <https://docs.stripe.com/currencies#zero-decimal>; the service has the same table. */
const WITHOUT_DECIMALS = new Set('bif clp djf gnf jpy kmf krw mga pyg rwf vnd vuv xaf xof xpf'.split(' '));
const THREE_DECIMALS = new Set('bhd jod kwd omr tnd'.split(' '));

/** How many decimals an amount of minor units has. */
export function digits(currency) {
  if (WITHOUT_DECIMALS.has(currency)) return 0;
  return THREE_DECIMALS.has(currency) ? 3 : 2;
}

/** An amount of minor units as an exact decimal, such as `12.50`. */
function decimal(minor, currency) {
  const places = digits(currency);
  const all = String(Math.abs(minor)).padStart(places + 1, '0');
  const text = places ? `${all.slice(0, -places)}.${all.slice(-places)}` : all;
  return minor < 0 ? `-${text}` : text;
}

/** An amount as people read it. */
export function money(minor, currency) {
  const places = digits(currency);
  const style = { style: 'currency', currency, minimumFractionDigits: places, maximumFractionDigits: places };
  return new Intl.NumberFormat(LOCALE, style).format(decimal(minor, currency));
}

/** An amount as the service wrote it for people (`amount_display`), else as we do. */
export const shown = (from, name, currency = from.currency) => from[`${name}_display`] ?? money(from[name], currency);

/** What was typed, `12.5` or `12,50`, in minor units; null if it is no amount of that currency. */
export function minorUnits(typed, currency) {
  const places = digits(currency);
  const [, whole, fraction = ''] = typed.trim().match(/^(\d{1,9})(?:[.,](\d+))?$/) ?? [];
  if (whole === undefined || fraction.length > places) return null;
  return Number(whole + fraction.padEnd(places, '0'));
}

const DAY = new Intl.DateTimeFormat(LOCALE, { dateStyle: 'medium' });
const MOMENT = new Intl.DateTimeFormat(LOCALE, { dateStyle: 'medium', timeStyle: 'short' });
const CLOCK = new Intl.DateTimeFormat(LOCALE, { timeStyle: 'short' });
const MONTH = new Intl.DateTimeFormat(LOCALE, { month: 'short', year: 'numeric', timeZone: 'UTC' });
const COUNT = new Intl.NumberFormat(LOCALE);
const SIGNED = new Intl.NumberFormat(LOCALE, { signDisplay: 'exceptZero' });

export const day = (text) => DAY.format(new Date(text));
export const moment = (text) => MOMENT.format(new Date(text));
export const clock = (text) => CLOCK.format(new Date(text));
export const month = (text) => MONTH.format(new Date(text));
export const count = (number) => COUNT.format(number);
export const signed = (number) => SIGNED.format(number);

/** A day by itself, the same everywhere. */
export const plainDay = (text) => day(`${text}T12:00:00`);

/** Where the reader's clock stands: said once, as times are shown in it. */
export const zone = () => Intl.DateTimeFormat().resolvedOptions().timeZone;

const AGO = new Intl.RelativeTimeFormat(LANGUAGE, { numeric: 'auto' });
const STEPS = [
  ['day', 86_400],
  ['hour', 3_600],
  ['minute', 60],
];

/** `3 hours ago`, `in 2 days`. */
export function ago(text, now = Date.now()) {
  const seconds = (new Date(text).getTime() - now) / 1000;
  const [unit, size] = STEPS.find(([, long]) => Math.abs(seconds) >= long) ?? [];
  return unit ? AGO.format(Math.trunc(seconds / size), unit) : T.justNow;
}

/** A day so many days from now, as `2026-01-31`. */
export function dayFromNow(days) {
  return new Date(Date.now() + days * 86_400_000).toISOString().slice(0, 10);
}
