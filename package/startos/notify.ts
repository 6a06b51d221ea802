/** What the owner is told of when nobody is looking. */
import { types } from '@start9labs/start-sdk'
import { Health } from './health'
import { i18n } from './i18n'
import { sdk } from './sdk'

/** A failure that is gone by then, in milliseconds, is told to nobody. */
const patience = 120_000

/** Tells the owner of a failure that lasts, once, and of its end. */
export function teller(effects: types.Effects, now = Date.now) {
  let since: number | null = null
  let told = false
  return async (health: Health): Promise<void> => {
    if (health.result === 'failure') {
      since ??= now()
      if (told || now() - since < patience) return
      told = true
      await notify(
        effects,
        'warning',
        i18n('The cluster needs attention'),
        health.message,
      )
    } else {
      if (told && health.result === 'success') {
        told = false
        await notify(
          effects,
          'success',
          i18n('All is well again'),
          health.message,
        )
      }
      since = null
    }
  }
}

/** An older StartOS has no notifications; that must not make a service unhealthy. */
async function notify(
  effects: types.Effects,
  level: 'warning' | 'success',
  title: string,
  message: string,
): Promise<void> {
  await sdk.notification
    .create(effects, { level, title, message })
    .catch((error: unknown) => console.error('no notification:', error))
}
