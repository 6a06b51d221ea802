import { i18n } from './i18n'
import { sdk } from './sdk'
import { hostId, port } from './utils'

/**
 * The page and the API. Who may ask is asked by the program itself, with the password of `Set password`: a gate in front would
 * leave open the way by which other services of this server reach it.
 */
export const setInterfaces = sdk.setupInterfaces(async ({ effects }) => {
  const host = sdk.MultiHost.of(effects, hostId)
  const origin = await host.bindPort(port, {
    protocol: 'http',
    preferredExternalPort: 80,
  })
  const shared = {
    masked: false,
    schemeOverride: null,
    username: null,
    query: {},
  }
  const ui = sdk.createInterface(effects, {
    ...shared,
    name: i18n('The page'),
    id: 'ui',
    description: i18n('What should serve, what does, and what is in the way'),
    type: 'ui',
    path: '',
  })
  const api = sdk.createInterface(effects, {
    ...shared,
    name: i18n('The API'),
    id: 'api',
    description: i18n('The same for programs, with the password as a token'),
    type: 'api',
    path: '/api/v1',
  })
  return [await origin.export([ui, api])]
})
