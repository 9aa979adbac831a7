/**
 * Lets the browser keep the app's files, so that it opens without a server.
 * Pages without encryption, or with a certificate that was merely put up with,
 * may not; they work as before.
 */
export async function keepFiles(): Promise<void> {
  if (!import.meta.env.PROD || !('serviceWorker' in navigator)) return;
  try {
    await navigator.serviceWorker.register('/sw.js', { updateViaCache: 'none' });
  } catch {
    // Nothing is lost but the page without a server.
  }
}
