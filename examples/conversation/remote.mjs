// Services over HTTP: one way to ask them, and errors that say what to do.

const PATIENCE_MS = 15_000;

/**
 * Where a service is, how errors call it, and the variable that its address comes from.
 * @typedef {{ name: string, url: string, variable: string }} Service
 */

/**
 * @param {Service} service
 * @param {string} path
 * @param {FormData | object} body a form, or what is sent as JSON
 * @param {AbortSignal} [signal] gives it up
 * @param {number} [patienceMs]
 * @returns {Promise<Response>} one that is not an error
 */
export async function post(service, path, body, signal, patienceMs = PATIENCE_MS) {
  const url = service.url.replace(/\/+$/, "") + path;
  const timeout = AbortSignal.timeout(patienceMs);
  const isForm = body instanceof FormData;
  try {
    const response = await fetch(url, {
      method: "POST",
      body: isForm ? body : JSON.stringify(body),
      headers: isForm ? {} : { "Content-Type": "application/json" },
      signal: signal ? AbortSignal.any([signal, timeout]) : timeout,
    });
    if (response.ok) {
      // Read here, so that a body that does not come counts as well.
      return new Response(await response.arrayBuffer(), response);
    }
    const text = (await response.text()).trim().slice(0, 200);
    throw new Error(`answered ${response.status} ${text}`.trim());
  } catch (error) {
    if (signal?.aborted) throw signal.reason;
    const { message, cause } = /** @type {Error & { cause?: { code?: string } }} */ (error);
    const why = timeout.aborted
      ? `did not answer within ${patienceMs / 1000} s`
      : message.startsWith("answered")
        ? message
        : `cannot be reached (${cause?.code ?? message})`;
    throw new Error(
      `${service.name} at ${url} ${why}. Look at its log, correct ${service.variable}, ` +
        `or leave ${service.variable} out for the stand-in on this machine`,
      { cause: error },
    );
  }
}
