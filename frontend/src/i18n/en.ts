import { en as dash } from './areas/dash';
import { phone } from './areas/phone';
import { player } from './areas/player';

/** English, and the shape that every other language has to have. */
export const en = {
  ...phone.en,
  app: {
    name: 'Camwire',
    language: 'Language',
    skip: 'Skip to content',
  },
  state: {
    connecting: 'Connecting',
    live: 'Live',
    stalled: 'Not moving',
    lost: 'No connection',
    failed: 'Not working',
    idle: 'Resting',
    disabled: 'Switched off',
  },
  rung: {
    webrtc: 'WebRTC',
    mse: 'MSE',
    mjpeg: 'MJPEG',
    stills: 'Still pictures',
  },
  /** Each a sentence of its own. */
  reason: {
    asked: 'Enough for a small picture.',
    slow: 'Nothing better has arrived yet.',
    unsupported: 'This browser cannot show the stream in a better way.',
    unreachable: 'Camwire does not answer. Trying again.',
    signaling: 'The connection to Camwire was closed. Trying again.',
    silent: 'Nothing arrives any more. Trying again.',
    ice: 'The network lets no video packets through.',
    'no-picture': 'No picture arrived in time. Trying again.',
    frozen: 'The picture stopped moving. Starting it again.',
    refused: 'Camwire could not do it.',
    unauthorized: 'You may not see this camera.',
    'unknown-camera': 'Camwire knows no such camera.',
    decode: 'The browser could not read the stream.',
    camera: 'The camera delivers no picture.',
  },
  grid: {
    title: 'Cameras',
    live: '{live} of {all} live',
    liveShort: '{live}/{all} live',
    loading: 'Loading the cameras',
  },
  camera: {
    back: 'All cameras',
    fullScreen: 'Full screen',
    leaveFullScreen: 'Leave full screen',
    save: 'Save picture',
    saved: 'Picture saved.',
    nothingToSave: 'There is no picture to save yet.',
    stream: 'About the stream',
    way: 'Way of transport',
    delay: 'Delay from the camera to this screen',
    codec: 'Codec',
    size: 'Size of the picture',
    fps: 'Pictures per second',
    bitrate: 'Data rate',
    ms: '{n} ms',
    perSecond: '{n} fps',
    kbit: '{n} kbit/s',
    mbit: '{n} Mbit/s',
  },
  unknown: {
    title: 'No such camera',
    text: 'Camwire knows no camera called “{id}”. It may have been renamed or removed, or it has not sent its first picture yet.',
  },
  notFound: {
    title: 'Nothing here',
    text: 'This address belongs to no page.',
  },
  link: {
    away: 'Camwire does not answer. Trying again; this is how things were last.',
    awayFirst: 'Camwire does not answer. Trying again.',
    error: 'Camwire says: {message}',
    back: 'Camwire is back.',
  },
  signIn: {
    title: 'Sign in',
    text: 'Camwire printed a link with a token when it started. Open that link, or enter the token here.',
    token: 'Token',
    submit: 'Sign in',
    busy: 'Signing in',
    wrong: 'This token is not valid.',
    away: 'Camwire does not answer. Try again in a moment.',
    again: '`camwire token` on the machine that runs Camwire shows it again.',
  },
  ...dash,
  ...player.en,
};

export type Messages = typeof en;
