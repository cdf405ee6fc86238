/**
 * Adds the two headers without which a browser gives a page no threads, where a web host cannot send them.
 * A service worker: it stands between the page and its host, and only ever sees this site's own files.
 */

const ISOLATION = {
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Embedder-Policy': 'require-corp',
  'Cross-Origin-Resource-Policy': 'same-origin',
};

self.addEventListener('install', () => self.skipWaiting());
self.addEventListener('activate', (event) => event.waitUntil(self.clients.claim()));

self.addEventListener('fetch', (event) => {
  const { request } = event;
  const elsewhere = new URL(request.url).origin !== self.location.origin;
  // Browsers' tools ask so for what is in the cache only; fetching it here would be refused.
  const cachedOnly = request.cache === 'only-if-cached' && request.mode !== 'same-origin';
  if (elsewhere || cachedOnly) return;
  event.respondWith(isolated(request));
});

/**
 * The host's answer with the headers added; its body is passed on as it comes.
 * @param {Request} request
 * @returns {Promise<Response>}
 */
async function isolated(request) {
  const answer = await fetch(request);
  if (answer.status === 0) return answer; // a redirect that the browser follows itself
  const headers = new Headers(answer.headers);
  for (const [name, value] of Object.entries(ISOLATION)) headers.set(name, value);
  const { status, statusText } = answer;
  return new Response(answer.body, { status, statusText, headers });
}
