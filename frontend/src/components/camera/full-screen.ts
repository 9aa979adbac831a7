import { onBeforeUnmount, onMounted, ref } from 'vue';
import type { Ref } from 'vue';

/** Full screen of one element, where the browser has it. */
export function useFullScreen(element: Readonly<Ref<HTMLElement | null>>) {
  const possible = document.fullscreenEnabled;
  const on = ref(false);
  const follow = () => void (on.value = document.fullscreenElement !== null);

  async function toggle(): Promise<void> {
    if (!possible) return;
    try {
      if (document.fullscreenElement) await document.exitFullscreen();
      else await element.value?.requestFullscreen();
    } catch {
      // The browser said no; the page stays as it is.
    }
  }

  onMounted(() => document.addEventListener('fullscreenchange', follow));
  onBeforeUnmount(() => document.removeEventListener('fullscreenchange', follow));
  return { possible, on, toggle };
}

/** Picture in picture of whatever video is on the screen. */
export function usePip(video: () => HTMLVideoElement | null) {
  const possible = document.pictureInPictureEnabled;
  const on = ref(false);
  const follow = () => void (on.value = document.pictureInPictureElement !== null);

  async function toggle(): Promise<void> {
    try {
      if (document.pictureInPictureElement) await document.exitPictureInPicture();
      else await video()?.requestPictureInPicture();
    } catch {
      // Not without a picture, nor without a gesture.
    }
  }

  // These come up from the video, wherever it is in the page.
  onMounted(() => {
    document.addEventListener('enterpictureinpicture', follow, true);
    document.addEventListener('leavepictureinpicture', follow, true);
  });
  onBeforeUnmount(() => {
    document.removeEventListener('enterpictureinpicture', follow, true);
    document.removeEventListener('leavepictureinpicture', follow, true);
  });
  return { possible, on, toggle };
}
