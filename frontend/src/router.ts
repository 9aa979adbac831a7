import { nextTick } from 'vue';
import { createRouter, createWebHistory } from 'vue-router';
import CameraView from './views/CameraView.vue';
import GridView from './views/GridView.vue';
import NotFoundView from './views/NotFoundView.vue';

export function makeRouter() {
  const router = createRouter({
    history: createWebHistory(),
    routes: [
      { path: '/', name: 'grid', component: GridView },
      { path: '/camera/:id', name: 'camera', component: CameraView, props: true },
      { path: '/:rest(.*)*', name: 'not-found', component: NotFoundView },
    ],
    scrollBehavior: (_to, _from, saved) => saved ?? { top: 0 },
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
