import { nextTick } from 'vue';
import { createRouter, createWebHistory } from 'vue-router';
import GridView from './views/GridView.vue';
import SignInView from './views/SignInView.vue';

/** Remembers for which address the page has been loaded anew. */
const RELOADED = 'camwire.reloaded';

export function makeRouter() {
  const router = createRouter({
    history: createWebHistory(),
    routes: [
      { path: '/', name: 'grid', component: GridView },
      { path: '/camera/:id', name: 'camera', component: () => import('./views/CameraView.vue'), props: true },
      { path: '/cameras/new', name: 'add', component: () => import('./views/CameraEditView.vue') },
      { path: '/cameras/:id/edit', name: 'edit', component: () => import('./views/CameraEditView.vue'), props: true },
      { path: '/sign-in', name: 'sign-in', component: SignInView },
      { path: '/settings', name: 'settings', component: () => import('./views/SettingsView.vue') },
      { path: '/portal/:id', name: 'portal', component: () => import('./views/PortalView.vue'), props: true, meta: { alone: true } },
      { path: '/kiosk/:id', name: 'kiosk', component: () => import('./views/KioskView.vue'), props: true },
      { path: '/m', name: 'phone', component: () => import('./views/PhoneView.vue'), meta: { alone: true, unlisted: true } },
      { path: '/connect', name: 'connect', component: () => import('./views/ConnectView.vue') },
      { path: '/:rest(.*)*', name: 'not-found', component: () => import('./views/NotFoundView.vue') },
    ],
    scrollBehavior: (_to, _from, saved) => saved ?? { top: 0 },
  });
  router.onError((_error, to) => {
    // Most likely a newer Camwire is running, and the part of the old one that
    // the page asked for is gone. Once, for what is missing may stay missing.
    if (sessionStorage.getItem(RELOADED) === to.fullPath) return;
    sessionStorage.setItem(RELOADED, to.fullPath);
    location.assign(to.fullPath);
  });
  router.afterEach(async (_to, from) => {
    // The first page is announced by the browser itself.
    if (from.matched.length === 0) return;
    await nextTick();
    // A page that knows a better place has put the focus there already.
    if (document.activeElement && document.activeElement !== document.body) return;
    document.querySelector<HTMLElement>('h1')?.focus({ preventScroll: true });
  });
  return router;
}
