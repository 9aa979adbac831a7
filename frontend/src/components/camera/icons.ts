/** Paths of the icons upon a picture, 24 x 24, drawn with a line. */
export const ICONS = {
  save: 'M12 4v11m0 0l-4.5-4.5M12 15l4.5-4.5M5 19.5h14',
  fullScreen: 'M4 9V4h5M20 9V4h-5M4 15v5h5M20 15v5h-5',
  leaveFullScreen: 'M9 4v5H4M15 4v5h5M9 20v-5H4M15 20v-5h5',
  sound: 'M4 9v6h4l5 4V5L8 9zM17 8.5a5 5 0 0 1 0 7M19.5 6a8.5 8.5 0 0 1 0 12',
  noSound: 'M4 9v6h4l5 4V5L8 9zM17 9.5l5 5M22 9.5l-5 5',
  pip: 'M3.5 5h17v14h-17zM12 12h6v4.5h-6z',
  help: 'M9 9a3 3 0 1 1 4.2 2.8c-.9.4-1.2 1-1.2 2.2M12 17.5v.01M12 3a9 9 0 1 1 0 18 9 9 0 0 1 0-18',
  plus: 'M12 5v14M5 12h14',
  minus: 'M5 12h14',
} as const;
