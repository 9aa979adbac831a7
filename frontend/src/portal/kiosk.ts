/** The texts that make a computer into one end of a portal. Pure text work. */

/** The page of the screen; without a name of its own it only shows. */
export function portalLink(origin: string, shows: string, me: string, token: string): string {
  const url = new URL(`/portal/${encodeURIComponent(shows)}`, origin);
  if (me === '') url.searchParams.set('send', '0');
  else url.searchParams.set('me', me);
  if (token !== '') url.searchParams.set('token', token);
  return url.href;
}

/**
 * What the screen needs of Chromium: full screen, sound without a touch, no
 * bubble about a crash after a power cut, no translation, no keyring to unlock.
 */
const FLAGS = [
  '--kiosk',
  '--autoplay-policy=no-user-gesture-required',
  '--noerrdialogs',
  '--no-first-run',
  '--disable-session-crashed-bubble',
  '--disable-features=Translate',
  '--password-store=basic',
  '--disable-pinch',
  '--overscroll-history-navigation=0',
];

export function chromium(link: string): string {
  return ['chromium', ...FLAGS, `'${link}'`].join(' \\\n  ') + '\n';
}

/** Where Chromium looks for policies; Google Chrome has /etc/opt/chrome instead. */
export const POLICY_PATH = '/etc/chromium/policies/managed/camwire.json';

export function policy(origin: string): string {
  const rules = {
    AudioCaptureAllowedUrls: [origin],
    VideoCaptureAllowedUrls: [origin],
    AutoplayAllowed: true,
    TranslateEnabled: false,
  };
  return JSON.stringify(rules, null, 2) + '\n';
}

export const UNIT_PATH = '~/.config/systemd/user/camwire-portal.service';

/** In a unit a percent sign is the beginning of a specifier (systemd.unit(5)), so it is doubled. */
export function unit(link: string): string {
  return `[Unit]
Description=Camwire portal
PartOf=graphical-session.target
After=graphical-session.target

[Service]
ExecStart=/usr/bin/chromium ${FLAGS.join(' ')} "${link.replaceAll('%', '%%')}"
Restart=always
RestartSec=5

[Install]
WantedBy=graphical-session.target
`;
}

export const UNIT_COMMANDS = `systemctl --user daemon-reload
systemctl --user enable --now camwire-portal.service
`;

/** Puts Camwire's own authority into the list that Chromium keeps for this user. */
export function certutil(origin: string): string {
  return `mkdir -p ~/.pki/nssdb
curl -k -o camwire-ca.pem '${origin}/api/ca.crt?format=pem'
openssl x509 -in camwire-ca.pem -noout -fingerprint -sha256
certutil -d sql:$HOME/.pki/nssdb -A -t C,, -n Camwire -i camwire-ca.pem
`;
}
