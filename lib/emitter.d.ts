/// <reference types="node" />

import { EventEmitter } from "node:events";

/** The listeners of one event. */
export type Listener<Payload extends unknown[]> = (...payload: Payload) => void;

/**
 * An EventEmitter that knows the names of its events and what each carries. `Events` has an entry for each event: the
 * arguments of its listeners.
 */
export declare class TypedEmitter<
  Events extends Record<keyof Events, unknown[]>,
> extends EventEmitter {
  on<E extends keyof Events & string>(event: E, listener: Listener<Events[E]>): this;
  once<E extends keyof Events & string>(event: E, listener: Listener<Events[E]>): this;
  off<E extends keyof Events & string>(event: E, listener: Listener<Events[E]>): this;
  addListener<E extends keyof Events & string>(event: E, listener: Listener<Events[E]>): this;
  removeListener<E extends keyof Events & string>(event: E, listener: Listener<Events[E]>): this;
  prependListener<E extends keyof Events & string>(event: E, listener: Listener<Events[E]>): this;
  prependOnceListener<E extends keyof Events & string>(
    event: E,
    listener: Listener<Events[E]>,
  ): this;
  removeAllListeners(event?: keyof Events & string): this;
  emit<E extends keyof Events & string>(event: E, ...payload: Events[E]): boolean;
  listeners<E extends keyof Events & string>(event: E): Listener<Events[E]>[];
  rawListeners<E extends keyof Events & string>(event: E): Listener<Events[E]>[];
  listenerCount<E extends keyof Events & string>(event: E, listener?: Listener<Events[E]>): number;
  eventNames(): (keyof Events & string)[];
}
