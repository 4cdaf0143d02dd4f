// Times as the interface prints them, computed without the host's calendar.

const NS_PER_SECOND = 1_000_000_000n;
const SECONDS_PER_DAY = 86_400;

/** Nanoseconds since 1970 as `2026-01-02 03:04:05.123456789 UTC`. */
export function formatTimestamp(timeNs: bigint): string {
  const seconds = Number(timeNs / NS_PER_SECOND);
  const secondOfDay = seconds % SECONDS_PER_DAY;
  const { year, month, day } = civilDate((seconds - secondOfDay) / SECONDS_PER_DAY);
  const second = secondOfDay % 60;
  const minute = ((secondOfDay - second) / 60) % 60;
  const hour = (secondOfDay - second - 60 * minute) / 3600;
  const date = `${digits(year, 4)}-${digits(month, 2)}-${digits(day, 2)}`;
  const time = `${digits(hour, 2)}:${digits(minute, 2)}:${digits(second, 2)}`;
  return `${date} ${time}.${digits(Number(timeNs % NS_PER_SECOND), 9)} UTC`;
}

/** Date of a day number since 1970-01-01 (not before), by eras of 400 years that begin on 1 March. */
function civilDate(dayNumber: number): { year: number; month: number; day: number } {
  const shifted = dayNumber + 719_468; // days since 0000-03-01
  const dayOfEra = shifted % 146_097;
  const era = (shifted - dayOfEra) / 146_097;
  const leapDays = floorOf(dayOfEra, 1460) - floorOf(dayOfEra, 36_524) + floorOf(dayOfEra, 146_096);
  const yearOfEra = floorOf(dayOfEra - leapDays, 365);
  const dayOfYear = dayOfEra - (365 * yearOfEra + floorOf(yearOfEra, 4) - floorOf(yearOfEra, 100));
  const monthFromMarch = floorOf(5 * dayOfYear + 2, 153);
  const day = dayOfYear - floorOf(153 * monthFromMarch + 2, 5) + 1;
  const month = monthFromMarch < 10 ? monthFromMarch + 3 : monthFromMarch - 9;
  return { year: yearOfEra + 400 * era + (month <= 2 ? 1 : 0), month, day };
}

function floorOf(value: number, divisor: number): number {
  return (value - (value % divisor)) / divisor;
}

function digits(value: number, width: number): string {
  return String(value).padStart(width, "0");
}
