import { useI18n } from 'vue-i18n';
import type { Grant } from '../../api/accounts';
import { grantLines } from './grant';

/** What somebody may do, as lines in the language of the page. */
export function useGrantLines(): (grant: Grant) => string[] {
  const { t } = useI18n();
  return (grant) =>
    grantLines(grant, {
      permission: (p) => t(`people.permission.${p}`),
      all: t('people.allCameras'),
      line: (what, cameras) => t('people.grant', { what, cameras }),
    });
}
