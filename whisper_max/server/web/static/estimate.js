/** How long something takes yet. */

/**
 * @param {number} share of it that is done, 0 to 1
 * @param {number} seconds that this took
 * @returns {number | null} seconds; null while nobody knows
 */
export function secondsLeft(share, seconds) {
  if (share <= 0 || seconds < 0.5) return null;
  return (seconds * (1 - share)) / share;
}

/**
 * 75 as "about 1:15 left".
 * @param {number | null} seconds
 * @param {(seconds: number) => string} clock
 */
export function leftText(seconds, clock) {
  return seconds === null || !Number.isFinite(seconds) ? "" : `about ${clock(Math.ceil(seconds))} left`;
}
