import { IMPOSSIBLE, VersionInfo } from '@start9labs/start-sdk'

export const current = VersionInfo.of({
  version: '0.1.0:0',
  releaseNotes: {
    en_US: 'The first release.',
    es_ES: 'La primera versión.',
    de_DE: 'Die erste Version.',
    pl_PL: 'Pierwsza wersja.',
    fr_FR: 'La première version.',
  },
  // The program migrates its own store, and refuses one that a newer program made.
  migrations: { up: async () => {}, down: IMPOSSIBLE },
})
