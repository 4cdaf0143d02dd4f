// Live images by canister, bounded by bytes and count; the least recently used go first.

import type { LiveImage } from "./live-image.ts";

/** Bounds of the cache. */
export interface ImageCacheLimits {
  readonly bytesMax: number;
  readonly imagesMax: number;
}

/** Cached images. */
export class ImageCache {
  readonly #images: Map<string, LiveImage> = new Map();
  readonly #limits: ImageCacheLimits;

  constructor(limits: ImageCacheLimits) {
    this.#limits = limits;
  }

  get bytes(): number {
    let bytes = 0;
    for (const image of this.#images.values()) bytes += image.bytes;
    return bytes;
  }

  get(key: string): LiveImage | undefined {
    return this.#images.get(key);
  }

  delete(key: string): void {
    this.#images.delete(key);
  }

  /** Keeps an image as the most recently used one and lets go of what exceeds the bounds. */
  keep(image: LiveImage): void {
    this.#images.delete(image.key);
    this.#images.set(image.key, image);
    let bytes = this.bytes;
    for (const [key, oldest] of this.#images) {
      if (bytes <= this.#limits.bytesMax && this.#images.size <= this.#limits.imagesMax) break;
      if (oldest === image) break;
      bytes -= oldest.bytes;
      this.#images.delete(key);
    }
  }
}
