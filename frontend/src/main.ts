import { createApp } from 'vue';
import App from './App.vue';
import { Api } from './api/client';
import { makeI18n } from './i18n';
import { makeRouter } from './router';
import './styles/tokens.css';
import './styles/base.css';

createApp(App, { api: new Api() }).use(makeI18n()).use(makeRouter()).mount('#app');
