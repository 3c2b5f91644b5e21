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
