// The document lies beside this script, so the page works under any host and without a network.
Scalar.createApiReference('#reference', {
  url: new URL('openapi.yaml', document.currentScript.src).pathname,
  withDefaultFonts: false,
  hideClientButton: true,
  telemetry: false,
  showDeveloperTools: 'never',
  agent: { disabled: true },
  mcp: { disabled: true },
  defaultOpenAllTags: true,
});
