function drawFigures() {
  data.figures.forEach((figure, i) => {
    const { data: traces, layout } = structuredClone(figure);
    for (const note of layout.annotations ?? []) note.bgcolor &&= css("--paper");
    plot(document.getElementById(`figure${i}`), traces, layout);
  });
}
drawFigures();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawFigures);
