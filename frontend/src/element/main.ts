import { CamwireView, setHome } from './camwire-view';

// The one script tag: <script src="https://camwire-host/camwire-view.js"></script>
const { currentScript } = document;
setHome(currentScript instanceof HTMLScriptElement ? currentScript.src : undefined);
// A page that includes it twice keeps the first.
if (!customElements.get('camwire-view')) customElements.define('camwire-view', CamwireView);
