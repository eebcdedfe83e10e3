/** The value below which `share` (0 to 1) of the samples lie; undefined without samples. */
export function percentile(samples: readonly number[], share: number): number | undefined {
  const sorted = samples.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))];
}

export function median(samples: readonly number[]): number | undefined {
  return percentile(samples, 0.5);
}

/** A figure for people and for JSON: three significant digits at least, no noise behind them. */
export function round(value: number | undefined, digits = 2): number | null {
  return value === undefined || !Number.isFinite(value) ? null : Number(value.toFixed(digits));
}

/** Bytes as megabytes of 1,000,000, as the budgets count them. */
export function megabytes(bytes: number | undefined): number | null {
  return round(bytes === undefined ? undefined : bytes / 1e6, 1);
}

/** The slope of the line through the points, both on logarithmic scales: 0 for no growth, 1 for growth in proportion. */
export function exponent(sizes: readonly number[], costs: readonly number[]): number {
  const points = sizes.map((size, index) => ({ x: Math.log(size), y: Math.log(costs[index] ?? Number.NaN) }));
  const mean = (of: (point: { x: number; y: number }) => number) =>
    points.reduce((sum, point) => sum + of(point), 0) / points.length;
  const [x, y] = [mean((point) => point.x), mean((point) => point.y)];
  return mean((point) => (point.x - x) * (point.y - y)) / mean((point) => (point.x - x) ** 2);
}
