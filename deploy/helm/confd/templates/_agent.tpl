{{/*
The agent as a native sidecar, for charts of applications (Kubernetes 1.29 or later). It starts before the application, and
the application starts once a configuration is applied.

  initContainers:
    {{- include "confd.agent.container" .Values.agent | nindent 4 }}
  securityContext:
    {{- include "confd.agent.podSecurity" .Values.agent | nindent 4 }}
  volumes:
    {{- include "confd.agent.volumes" .Values.agent | nindent 4 }}

The application mounts the volume confd-output read-only, as a folder: a subPath is never updated.

  volumeMounts:
    - {name: confd-output, mountPath: /etc/app, readOnly: true}

The values:

  image           of confd
  controllerUrl   such as http://confd:8080
  passwordSecret  Secret with the key agent-password
  file            name of the file in the folder, such as app.json
  format          JSON by default, or another value of FILE_FORMAT
  reload          URL on loopback or signal:NAME, which FILE_RELOAD takes; without it, the application watches the file
  fsGroup         group of the file, 10001 by default: FILE_MODE is 0640
  startSeconds    limit for the first configuration, 120 by default
  apiListen       such as tcp:8083:interface=127.0.0.1, for the read API inside of the pod
  settings        more settings of the agent by their names
*/}}
{{- define "confd.agent.container" -}}
- name: confd-agent
  image: {{ required "agent.image is the image of confd" .image | quote }}
  # A native sidecar: it runs until the application has ended, and does not keep a Job alive.
  restartPolicy: Always
  args: [confd-agent]
  env:
    - name: CONTROLLER_URL
      value: {{ required "agent.controllerUrl is the URL of the controller" .controllerUrl | quote }}
    - name: CONTROLLER_PASSWORD_FILE
      value: /run/confd/secret/agent-password
    - name: CACHE_FILE
      value: /var/lib/confd/agent_config.cache
    - name: AGENT_LISTEN
      value: tcp:8081
    - name: OUTPUTS
      value: FILE
    - name: FILE_PATH
      value: /run/confd/output/{{ required "agent.file is the name of the file" .file }}
    - name: FILE_FORMAT
      value: {{ .format | default "JSON" | quote }}
    - name: FILE_MODE
      value: "0640"
    - name: FILE_GROUP
      value: {{ .fsGroup | default 10001 | quote }}
    {{- with .reload }}
    - name: FILE_RELOAD
      value: {{ . | quote }}
    {{- end }}
    {{- with .apiListen }}
    - name: AGENT_API_LISTEN
      value: {{ . | quote }}
    {{- end }}
    - name: POD_IP
      valueFrom: {fieldRef: {fieldPath: status.podIP}}
    - name: AGENT_ADVERTISE
      value: $(POD_IP):8081
    {{- range $name, $value := .settings }}
    - name: {{ $name }}
      value: {{ $value | toString | quote }}
    {{- end }}
  ports:
    - {name: confd-agent, containerPort: 8081}
  # /ready is red without a controller, and a cached configuration is enough to start.
  startupProbe:
    httpGet: {path: /applied, port: confd-agent}
    periodSeconds: 1
    failureThreshold: {{ .startSeconds | default 120 }}
  livenessProbe:
    httpGet: {path: /health, port: confd-agent}
  securityContext:
    {{- include "confd.confined" . | nindent 4 }}
  volumeMounts:
    - {name: confd-cache, mountPath: /var/lib/confd}
    - {name: confd-output, mountPath: /run/confd/output}
    - {name: confd-secret, mountPath: /run/confd/secret, readOnly: true}
    - {name: confd-tmp, mountPath: /tmp}
{{- end -}}

{{- define "confd.agent.podSecurity" -}}
fsGroup: {{ .fsGroup | default 10001 }}
{{- end -}}

{{- define "confd.agent.volumes" -}}
- name: confd-cache
  emptyDir: {}
- name: confd-output
  emptyDir: {medium: Memory}
- name: confd-tmp
  emptyDir: {}
- name: confd-secret
  secret:
    secretName: {{ required "agent.passwordSecret is the name of a Secret" .passwordSecret }}
    items: [{key: agent-password, path: agent-password}]
    defaultMode: 0440
{{- end -}}
