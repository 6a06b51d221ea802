/** At most 160 letters each. */
export const short = {
  en_US:
    'Keeps your DGX Sparks serving what one file says, and shows what differs.',
  es_ES:
    'Mantiene sus DGX Spark en el estado que describe un archivo y muestra las diferencias.',
  de_DE:
    'Hält deine DGX Sparks in dem Zustand, den eine Datei beschreibt, und zeigt, was abweicht.',
  pl_PL:
    'Utrzymuje Twoje DGX Spark w stanie opisanym w jednym pliku i pokazuje różnice.',
  fr_FR:
    'Maintient vos DGX Spark dans l’état décrit par un fichier et montre les écarts.',
}

export const long = {
  en_US:
    'You say which model should be serving, on which Sparks, and which services run beside it. Spark Control looks at the Sparks over SSH, says what differs, shows a plan with what it costs, and carries it out step by step. Nothing is stopped before it is known that what comes next can start.',
  es_ES:
    'Usted indica qué modelo debe servirse, en qué Sparks, y qué servicios lo acompañan. Spark Control observa los Sparks por SSH, muestra las diferencias y un plan con su coste, y lo ejecuta paso a paso. No se detiene nada antes de saber que lo siguiente puede arrancar.',
  de_DE:
    'Du sagst, welches Modell auf welchen Sparks laufen soll und welche Dienste daneben. Spark Control sieht über SSH nach, zeigt, was abweicht, und einen Plan mit seinem Preis, und führt ihn Schritt für Schritt aus. Nichts wird beendet, bevor feststeht, dass das Nächste starten kann.',
  pl_PL:
    'Wskazujesz, który model ma działać, na których Sparkach i jakie usługi obok niego. Spark Control sprawdza Sparki przez SSH, pokazuje różnice i plan z jego kosztem, i wykonuje go krok po kroku. Nic nie jest zatrzymywane, zanim wiadomo, że następne może wystartować.',
  fr_FR:
    'Vous indiquez quel modèle doit être servi, sur quels Sparks, et quels services l’accompagnent. Spark Control regarde les Sparks par SSH, montre les écarts et un plan avec son coût, puis l’exécute pas à pas. Rien n’est arrêté avant de savoir que la suite peut démarrer.',
}
