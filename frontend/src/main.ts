import { createApp } from 'vue';
import App from './App.vue';
import { Api } from './api/client';
import { loadLocale, makeI18n } from './i18n';
import { makeRouter } from './router';
import { applyTheme } from './theme';
import './styles/tokens.css';
import './styles/base.css';
import './styles/ui.css';

applyTheme();
const i18n = makeI18n();
await loadLocale(i18n.global);
createApp(App, { api: new Api() }).use(i18n).use(makeRouter()).mount('#app');
