import { computed, onBeforeUnmount, onMounted, ref, shallowRef, watch } from 'vue';
import type { Ref } from 'vue';
import type { Camera } from '../../api/types';
import { arrange, commonShape, leastTile } from './arrange';
import { keepShapes, recallShapes } from './shapes';

/**
 * Arranges the grid in an element that is as large as what is visible of it.
 * The shape of the tiles is looked at when cameras come or go or the window
 * changes, and never when a picture arrives: nothing moves under a finger.
 */
export function useArrangement(room: Readonly<Ref<HTMLElement | null>>, list: Readonly<Ref<readonly Camera[]>>) {
  const shapes = recallShapes();
  const remembered = shapes.size;
  const size = shallowRef({ width: 0, height: 0, gap: 0, rem: 16 });
  const shape = ref(commonShape([...shapes.values()]));
  const count = computed(() => list.value.length || remembered || 1);

  const arrangement = computed(() => {
    const { width, height, gap, rem } = size.value;
    const least = leastTile(count.value, width, gap, rem);
    return arrange(count.value, { width, height, gap, aspect: shape.value, least });
  });

  function measure(): void {
    if (!room.value) return;
    const { width, height } = room.value.getBoundingClientRect();
    const gap = parseFloat(getComputedStyle(room.value).columnGap) || 0;
    const rem = parseFloat(getComputedStyle(document.documentElement).fontSize) || 16;
    size.value = { width, height, gap, rem };
  }

  const observer = new ResizeObserver(measure);
  onMounted(() => {
    measure();
    if (room.value) observer.observe(room.value);
  });
  onBeforeUnmount(() => observer.disconnect());

  const known = computed(() => list.value.filter((c) => c.width > 0 && c.height > 0));
  watch(
    () => known.value.map((c) => `${c.id}=${c.width}x${c.height}`).join(' '),
    () => {
      if (list.value.length === 0) return;
      for (const c of known.value) shapes.set(c.id, c.width / c.height);
      const ids = new Set(list.value.map((c) => c.id));
      for (const id of shapes.keys()) if (!ids.has(id)) shapes.delete(id);
      keepShapes(shapes);
    },
    { immediate: true },
  );
  watch(
    [() => list.value.map((c) => c.id).join(' '), () => size.value.width],
    () => {
      const now = list.value.map((c) => shapes.get(c.id)).filter((s) => s !== undefined);
      if (list.value.length > 0) shape.value = commonShape(now);
    },
    { immediate: true },
  );

  return { arrangement, shape, remembered };
}
