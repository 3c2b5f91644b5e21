// Sounds to push, and comparing what was heard with them.

/** A tone that rises from 200 Hz to 3,500 Hz: no two moments of it are alike. */
export function sweep(sampleRate: number, seconds: number): Float32Array {
  const rise = 3300 / seconds;
  return Float32Array.from({ length: Math.round(sampleRate * seconds) }, (_, at) => {
    const t = at / sampleRate;
    // 20 ms of fade at both ends keep the codec from clicking.
    const fade = Math.min(1, t / 0.02, (seconds - t) / 0.02);
    return 0.4 * fade * Math.sin(2 * Math.PI * (200 * t + (rise * t * t) / 2));
  });
}

/** 16-bit PCM of these channels, interleaved. */
export function pcmOf(...channels: Float32Array[]): Buffer {
  const length = channels[0]?.length ?? 0;
  const data = Buffer.alloc(length * channels.length * 2);
  for (let at = 0; at < length; at++) {
    channels.forEach((channel, index) => {
      data.writeInt16LE(Math.round((channel[at] ?? 0) * 32767), (at * channels.length + index) * 2);
    });
  }
  return data;
}

export function samplesOf(pcm: Buffer): Float32Array {
  return Float32Array.from({ length: pcm.length >> 1 }, (_, at) => pcm.readInt16LE(at * 2) / 32768);
}

export function rms(samples: Float32Array): number {
  return Math.sqrt(samples.reduce((sum, sample) => sum + sample * sample, 0) / samples.length);
}

/**
 * How well each `windowMs` of `expected` is found in `heard` (1: exactly), around where the sound begins;
 * windows, since a jitter buffer may stretch or shorten a little in between.
 */
export function resemblance(
  heard: Float32Array,
  expected: Float32Array,
  sampleRate: number,
  windowMs = 200,
): number[] {
  const size = Math.round((sampleRate * windowMs) / 1000);
  const slack = Math.round(sampleRate * 0.06);
  let offset = onset(heard, sampleRate) - onset(expected, sampleRate);
  const found: number[] = [];
  for (let at = 0; at + size <= expected.length; at += size) {
    const window = expected.subarray(at, at + size);
    let best = { value: -1, lag: 0 };
    for (let lag = -slack; lag <= slack; lag++) {
      const from = at + offset + lag;
      if (from < 0 || from + size > heard.length) continue;
      const value = correlation(window, heard.subarray(from, from + size));
      if (value > best.value) best = { value, lag };
    }
    found.push(best.value);
    if (best.value > 0.5) offset += best.lag;
  }
  return found;
}

/** Pearson's, without the means: sound has none. */
export function correlation(a: Float32Array, b: Float32Array): number {
  let product = 0;
  let squareA = 0;
  let squareB = 0;
  for (let at = 0; at < a.length; at++) {
    const x = a[at] as number;
    const y = b[at] as number;
    product += x * y;
    squareA += x * x;
    squareB += y * y;
  }
  return product / Math.sqrt(squareA * squareB + 1e-12);
}

/** Where it is first louder than -34 dB. */
export function onset(samples: Float32Array, sampleRate: number): number {
  const step = Math.round(sampleRate / 400);
  for (let at = 0; at < samples.length; at += step) {
    if (rms(samples.subarray(at, at + step)) > 0.02) return at;
  }
  return samples.length;
}

/** Level of each `frameMs`, in dB above -60 dB: the rhythm of speech. */
export function envelope(samples: Float32Array, sampleRate: number, frameMs = 20): Float32Array {
  const size = Math.round((sampleRate * frameMs) / 1000);
  return Float32Array.from({ length: Math.floor(samples.length / size) }, (_, frame) => {
    const level = rms(samples.subarray(frame * size, (frame + 1) * size));
    return Math.max(0, 60 + 20 * Math.log10(level + 1e-9));
  });
}

/** A tone of `hz`. */
export function tone(sampleRate: number, seconds: number, hz: number): Float32Array {
  return Float32Array.from(
    { length: Math.round(sampleRate * seconds) },
    (_, at) => 0.4 * Math.sin((2 * Math.PI * hz * at) / sampleRate),
  );
}

/** How loud the tone of `hz` is in `samples`: its amplitude. */
export function toneLevel(samples: ArrayLike<number>, sampleRate: number, hz: number): number {
  let [sine, cosine] = [0, 0];
  for (let at = 0; at < samples.length; at++) {
    const angle = (2 * Math.PI * hz * at) / sampleRate;
    sine += (samples[at] as number) * Math.sin(angle);
    cosine += (samples[at] as number) * Math.cos(angle);
  }
  return (2 * Math.hypot(sine, cosine)) / samples.length;
}

/** Samples of a window of {@link spurDb}: 171 ms at 48 kHz. */
export const SPUR_WINDOW = 8192;

/** The strongest line of `samples` beside the tone of `hz` (by 100 Hz and more), in dB below it. */
export function spurDb(samples: Float32Array, sampleRate: number, hz: number): number {
  const size = SPUR_WINDOW;
  // Four terms of Blackman-Harris: side lobes 92 dB down.
  const window = (at: number) =>
    [0.35875, -0.48829, 0.14128, -0.01168].reduce(
      (sum, term, n) => sum + term * Math.cos((2 * Math.PI * n * at) / size),
      0,
    );
  const power = spectrum(
    Float64Array.from({ length: size }, (_, at) => (samples[at] ?? 0) * window(at)),
  );
  const bin = sampleRate / size;
  let [tone, spur] = [0, 0];
  for (const [at, value] of power.entries()) {
    const frequency = at * bin;
    if (Math.abs(frequency - hz) < 100) tone = Math.max(tone, value);
    else if (frequency > 100) spur = Math.max(spur, value);
  }
  return 10 * Math.log10(spur / tone);
}

/** Bands of {@link spectrogram}, equally far apart to the ear. */
const BANDS = 20;
const LOWEST_HZ = 100;
const HIGHEST_HZ = 7000;
/** What is quieter than this is silence, whatever little noise a codec puts there. */
const FLOOR_DB = -75;

/** Level of each band in each 20 ms, in dB above silence: what is said, whatever the waveform. */
export function spectrogram(samples: Float32Array, sampleRate: number): Float32Array[] {
  const hop = Math.round(sampleRate * 0.02);
  const size = 2 ** Math.ceil(Math.log2(hop));
  const mel = (hz: number) => Math.log(1 + hz / 700);
  const step = (mel(HIGHEST_HZ) - mel(LOWEST_HZ)) / BANDS;
  const bandOf = Array.from({ length: size / 2 }, (_, bin) =>
    Math.floor((mel((bin * sampleRate) / size) - mel(LOWEST_HZ)) / step),
  );
  // Hann's, a little longer than the hop: what lies on a border counts too.
  const window = Float64Array.from(
    { length: size },
    (_, at) => Math.sin((Math.PI * (at + 0.5)) / size) ** 2,
  );
  return Array.from({ length: Math.floor((samples.length - size) / hop) + 1 }, (_, frame) => {
    const power = spectrum(window.map((weight, at) => weight * (samples[frame * hop + at] ?? 0)));
    const bands = new Float32Array(BANDS);
    for (const [bin, band] of bandOf.entries()) {
      if (band >= 0 && band < BANDS) bands[band] = (bands[band] ?? 0) + (power[bin] ?? 0);
    }
    return bands.map((sum) => Math.max(0, 10 * Math.log10(sum / size ** 2 + 1e-12) - FLOOR_DB));
  });
}

/** From this sample up to that one. */
export interface Stretch {
  from: number;
  to: number;
}

/** Louder than breaths and the ends of words, in dB of {@link envelope}. */
const SPOKEN_DB = 24;

/** The words or groups of words in `speech`: 200 ms and more between two breaks of 40 ms and more. */
export function words(speech: Float32Array, sampleRate: number): Stretch[] {
  const size = Math.round(sampleRate * 0.02);
  const found: Stretch[] = [];
  for (const [frame, level] of envelope(speech, sampleRate).entries()) {
    if (level < SPOKEN_DB) continue;
    const last = found.at(-1);
    if (last && frame - last.to < 2) last.to = frame + 1;
    else found.push({ from: frame, to: frame + 1 });
  }
  return found
    .filter(({ from, to }) => to - from >= 10)
    .map(({ from, to }) => ({ from: from * size, to: to * size }));
}

/**
 * How well the {@link spectrogram} of each stretch of `expected` is found in `heard` (1: exactly): not far from where it
 * should be, since a jitter buffer may stretch or shorten a little in between.
 */
export function understood(
  heard: Float32Array,
  expected: Float32Array,
  sampleRate: number,
  stretches: Stretch[],
): number[] {
  const step = Math.round(sampleRate * 0.01);
  const offset = step * place(envelope(heard, sampleRate, 10), envelope(expected, sampleRate, 10));
  const slack = 12 * step;
  return stretches.map(({ from, to }) => {
    const wanted = spectrogram(expected.subarray(from, to), sampleRate);
    let best = -1;
    for (let lag = -slack; lag <= slack; lag += step) {
      const begin = from + offset + lag;
      if (begin < 0 || begin + to - from > heard.length) continue;
      const found = spectrogram(heard.subarray(begin, begin + to - from), sampleRate);
      best = Math.max(best, correlation(centred(joined(found)), centred(joined(wanted))));
    }
    return best;
  });
}

/** Where in `long` something like `short` begins. */
function place(long: Float32Array, short: Float32Array): number {
  const wanted = centred(short);
  let best = { value: -1, at: 0 };
  for (let at = 0; at + short.length <= long.length; at++) {
    const value = correlation(wanted, centred(long.slice(at, at + short.length)));
    if (value > best.value) best = { value, at };
  }
  return best.at;
}

function joined(frames: Float32Array[]): Float32Array {
  return Float32Array.from(frames.flatMap((frame) => [...frame]));
}

/** Less their mean. */
export function centred(values: Float32Array): Float32Array {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  return values.map((value) => value - mean);
}

/** The power of each frequency up to half the rate; a power of two samples. */
function spectrum(samples: Float64Array): Float64Array {
  const size = samples.length;
  const bits = Math.log2(size);
  const re = new Float64Array(size);
  const im = new Float64Array(size);
  for (let at = 0; at < size; at++) {
    let reversed = 0;
    for (let bit = 0; bit < bits; bit++) reversed |= ((at >> bit) & 1) << (bits - 1 - bit);
    re[reversed] = samples[at] as number;
  }
  for (let half = 1; half < size; half *= 2) {
    for (let at = 0; at < size; at++) {
      if (at & half) continue;
      const angle = (-Math.PI * (at & (half - 1))) / half;
      const [cos, sin] = [Math.cos(angle), Math.sin(angle)];
      const [a, b] = [at, at + half];
      const [x, y] = [re[b] as number, im[b] as number];
      const [u, v] = [x * cos - y * sin, x * sin + y * cos];
      re[b] = (re[a] as number) - u;
      im[b] = (im[a] as number) - v;
      re[a] = (re[a] as number) + u;
      im[a] = (im[a] as number) + v;
    }
  }
  return Float64Array.from(
    { length: size / 2 },
    (_, at) => (re[at] as number) ** 2 + (im[at] as number) ** 2,
  );
}
