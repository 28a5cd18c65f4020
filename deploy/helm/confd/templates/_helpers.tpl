{{- define "confd.name" -}}
{{- printf "%s-confd" .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- end -}}

{{- define "confd.selector" -}}
app.kubernetes.io/name: confd
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: controller
{{- end -}}

{{- define "confd.labels" -}}
{{ include "confd.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "confd.secret" -}}
{{- .Values.secret.existing | default (include "confd.name" .) -}}
{{- end -}}

{{/* What every container of confd runs with. */}}
{{- define "confd.confined" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
capabilities:
  drop: [ALL]
seccompProfile:
  type: RuntimeDefault
{{- end -}}
