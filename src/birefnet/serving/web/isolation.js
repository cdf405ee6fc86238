/** Threads on hosts that cannot send headers: a service worker of ours adds them; see headers-worker.js. */

const KEY = "birefnet-isolation";

/**
 * Ask for the worker and open the page again under it, once. Where that does not help, one thread has to do.
 *
 * @param {() => boolean} idle whether nothing would be lost by opening the page again
 */
export async function isolate(idle) {
  if (self.crossOriginIsolated || !self.isSecureContext || !navigator.serviceWorker) return;
  try {
    if (sessionStorage.getItem(KEY)) return;
    sessionStorage.setItem(KEY, "tried");
    await navigator.serviceWorker.register(new URL("headers-worker.js", import.meta.url));
    await navigator.serviceWorker.ready;
    if (idle()) location.reload();
  } catch {
    // No such worker on this host, or none allowed in this window.
  }
}
