import { ApiError } from '../../api/client';

/** What an error of the API is in one sentence: the server's words, or ours where nobody answered. */
export function explainError(err: unknown, t: (key: 'common.away' | 'common.forbidden') => string): string {
  if (!(err instanceof ApiError)) return t('common.away');
  return err.status === 403 && err.problems.length === 0 ? t('common.forbidden') : err.message;
}
