"use strict";

// Leave out the files of web pages: nobody calls them, and Swagger UI shows nine of 135 operations.
const isFile = (operations) => Object.values(operations).every(({ tags }) => tags.includes("pages"));
const withoutFiles = (document) => ({
  ...document,
  paths: Object.fromEntries(Object.entries(document.paths).filter(([, operations]) => !isFile(operations))),
});

// No validator badge: it would send the address of this page to a host elsewhere.
SwaggerUIBundle({
  url: "../openapi.json",
  dom_id: "#api",
  deepLinking: true,
  displayRequestDuration: true,
  validatorUrl: null,
  plugins: [
    () => ({
      statePlugins: {
        spec: { wrapActions: { updateJsonSpec: (update) => (document) => update(withoutFiles(document)) } },
      },
    }),
  ],
});
