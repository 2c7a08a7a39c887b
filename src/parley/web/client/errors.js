/**
 * The one error that the client throws: a refusal by its `code`, whatever brought it (JSON-RPC, HTTP or a lost line).
 * Holds facts, never a token or a password; words for people are the page's to choose.
 * @module
 */

/** A refusal of the server's, or one of our own: `connection_lost`, `signed_out`, `too_large`, `limit_exceeded`, `sign_in_needed`. */
export class ParleyError extends Error {
  /**
   * @param {string} code the name of the refusal, as in the protocol's table of errors
   * @param {number} status its HTTP status; 0 where no answer came
   * @param {string} message for developers
   * @param {Record<string, unknown>} [data] what else the refusal carries: `field`, `retry_after`, `incident`
   */
  constructor(code, status, message, data = {}) {
    super(message);
    this.name = "ParleyError";
    this.code = code;
    this.status = status;
    this.data = data;
  }

  /** Seconds after which trying again makes sense, where the server named them. */
  get retryAfterS() {
    const seconds = Number(this.data.retry_after);
    return Number.isFinite(seconds) && seconds > 0 ? seconds : null;
  }

  /** Whether the same request may succeed a little later, with nothing changed. */
  get passing() {
    return this.status === 0 || this.status === 429 || this.status >= 500;
  }
}

/**
 * @param {unknown} error the `error` member of a JSON-RPC answer
 * @returns {ParleyError}
 */
export function fromRpc(error) {
  const { message, data } = /** @type {{message?: string, data?: Record<string, unknown>}} */ (error ?? {});
  const code = typeof data?.code === "string" ? data.code : "internal";
  const status = typeof data?.status === "number" ? data.status : 500;
  return new ParleyError(code, status, message || code, data ?? {});
}

/**
 * Reads `application/problem+json` (RFC 9457); an answer of any other kind, as a proxy in between gives, becomes `http_<status>`.
 * @param {Response} response
 * @returns {Promise<ParleyError>}
 */
export async function fromHttp(response) {
  /** @type {Record<string, unknown>} */
  let problem = {};
  try {
    const body = await response.json();
    if (body && typeof body === "object") problem = body;
  } catch {
    // Not JSON: the status says all there is.
  }
  const code = typeof problem.code === "string" ? problem.code : `http_${response.status}`;
  const text = typeof problem.detail === "string" ? problem.detail : response.statusText || code;
  const retry = response.headers.get("retry-after");
  return new ParleyError(code, response.status, text, retry ? { retry_after: Number(retry), ...problem } : problem);
}

/** @param {string} why */
export const connectionLost = (why) => new ParleyError("connection_lost", 0, `the connection was lost: ${why}`);
